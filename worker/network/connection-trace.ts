/**
 * The way of a connection to a service, step by step: computed from the tables, each step compared with
 * what the kernel has. Sends nothing; changes nothing.
 */
import { describeError, SkepError } from '../../common/base/errors.ts';
import type {
  AssignedEndpoint,
  AssignedNetwork,
  AssignedPort,
  AssignedServiceEntry,
} from '../../common/model/assignment.ts';
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import { type PublishedPort, publishedKey } from '../../common/model/host-ip.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { NetworkHop, NetworkTraceRequest } from '../../common/model/network-trace.ts';
import { macOf, macText } from '../../native/ffi/net/address.ts';
import type { NetworkTable } from './cluster-tables.ts';
import { enteredFrom } from './host-publication.ts';
import { portChain } from './host-rules.ts';
import { type Difference, FACT } from './kernel-facts.ts';
import {
  encryptedPort,
  INGRESS_LINK,
  localPortName,
  MADE_NAMES,
  OVERLAY_VXLAN,
  overlayPortName,
  WIREGUARD_LINK,
} from './kernel-names.ts';
import { OF_THE_CLUSTER } from './local-network.ts';
import type { NodeMadeNetworks } from './node-made-networks.ts';
import {
  ENCRYPTION_SUBJECT,
  type NodeParts,
  type SubjectTask,
  subjectsOf,
} from './node-subjects.ts';
import type { Subject } from './self-proof.ts';
import { linkOf } from './task-request.ts';

/** Throws `not-found` for a task that this node has not attached. */
export async function traceConnection(
  parts: TraceParts,
  { service, taskId }: NetworkTraceRequest,
): Promise<NetworkHop[]> {
  const task = parts.tasks.get(taskId as TaskId);
  if (taskId !== '' && !task) {
    throw new SkepError('not-found', `trace from task ${taskId}: it has no network on this node`);
  }
  const trace = new ConnectionTrace(parts);
  return task ? trace.fromTask(task, service) : trace.fromNode(service);
}

export interface TraceParts extends NodeParts {
  /** a container of this node outside of services that publishes the port; null = none */
  readonly localHolder: (port: PublishedPort) => string | null;
  /** networks of the cluster that this node makes */
  readonly made: Pick<NodeMadeNetworks, 'addressesOf' | 'subjects'>;
}

class ConnectionTrace {
  readonly #parts: TraceParts;
  readonly #kernel: KernelView;
  readonly #hops: NetworkHop[] = [];

  constructor(parts: TraceParts) {
    this.#parts = parts;
    this.#kernel = new KernelView([...subjectsOf(parts), ...parts.made.subjects()]);
  }

  async fromTask(task: SubjectTask, service: string): Promise<NetworkHop[]> {
    const where = `task ${task.request.containerName}`;
    const found = this.#findService(task, service);
    if (!found) {
      return this.#end(
        'name',
        service,
        'none of the networks of the task has a service of that name',
      );
    }
    const { table, entry, link, address } = found;
    const serving = [...table.servingOf(entry.serviceId)].sort();
    const answer = entry.virtualIp ?? (serving.join(', ') || 'no address');
    this.#hop('name', `${service} is ${answer} in network ${table.network?.name}`, []);
    const ofLink = table.network?.local
      ? await this.#faultsOfMade(table.network, task.request.taskId, ` ${link}`)
      : await this.#kernel.faults(where, (what) => what.includes(` ${link}`));
    this.#hop('from', `${address} on ${link}`, ofLink);
    if (entry.virtualIp !== null) {
      const virtualIp = entry.virtualIp;
      const faults = await this.#kernel.faults(
        where,
        (what) => what.includes(`_${virtualIp}`) || / (output|vips)\b/.test(what),
      );
      this.#balancing(`virtual IP ${virtualIp}`, serving, faults);
    }
    return this.#backends(table, serving);
  }

  async fromNode(service: string): Promise<NetworkHop[]> {
    const { tables, nodeId } = this.#parts;
    const table = tables.ingress();
    const serviceId = [...(table?.endpoints.values() ?? [])].find(
      ({ serviceName }) => serviceName === service,
    )?.serviceId;
    const ports = [...tables.ports.values()].filter((port) => port.serviceId === serviceId);
    if (!table || serviceId === undefined || ports.length === 0) {
      return this.#end('port', service, 'it publishes no port of every node, or has no task');
    }
    const serving = [...enteredFrom(tables, nodeId, serviceId)].sort();
    for (const port of ports) await this.#entry(port, serving);
    const seat = table.peers.get(nodeId);
    const ofLink = await this.#kernel.faults('host', (what) => what.includes(INGRESS_LINK));
    const lost = seat ? [] : ['this node has no seat in the ingress network'];
    const as = seat?.masquerades ? ", the client's address is not kept: no gateway" : '';
    const from = `${seat?.address ?? 'nowhere'} on ${INGRESS_LINK}${as}`;
    this.#hop('from', from, [...ofLink, ...lost]);
    return this.#backends(table, serving);
  }

  /** One published port, as this node has it. */
  async #entry(port: AssignedPort, serving: readonly string[]): Promise<void> {
    const { protocol, publishedPort, targetPort, serviceId, localOnly, hostIp } = port;
    const chain = portChain(publishedKey(port));
    const faults = await this.#kernel.faults(
      'host',
      (what) =>
        what.includes(chain) ||
        what.includes(`backends_${serviceId}`) ||
        / (prerouting|output|ports|bound_ports)\b/.test(what),
    );
    const holder = this.#parts.localHolder(port);
    const shadow = holder === null ? [] : [`${holder} of this node had it first: it answers`];
    const words = localOnly ? ' of tasks here' : '';
    const at = hostIp === '' ? '' : ` of ${hostIp}`;
    const what = `port ${publishedPort}/${protocol}${at} to ${targetPort}${words}`;
    this.#balancing(what, serving, [...shadow, ...faults]);
  }

  #findService(task: SubjectTask, service: string) {
    const { request } = task;
    for (const [at, { networkId, addresses }] of request.attachments.entries()) {
      const table = this.#parts.tables.networks.get(networkId);
      if (!table?.network || table.network.ingress) continue;
      const entry = [...table.services.values()].find((it) => isNamed(it, service));
      if (!entry) continue;
      const made = this.#parts.made.addressesOf(request.taskId);
      const given = made.find((it) => it.networkId === networkId)?.address;
      const address = addresses[0] ?? given ?? 'no address';
      return { table, entry, link: linkOf(request, at), address };
    }
    return null;
  }

  /** Of a task's link in a network that this node makes, inside and on its bridge. @param concerns a part of the fact's words */
  #faultsOfMade({ id }: AssignedNetwork, taskId: TaskId, concerns = ''): Promise<string[]> {
    const port = localPortName(MADE_NAMES, id, taskId);
    const own = `container ${taskId.slice(0, SHORT_ID_CHARS)}: `;
    const isMeant = (what: string): boolean =>
      what.includes(port) || (what.startsWith(own) && what.includes(concerns));
    return this.#kernel.faults(OF_THE_CLUSTER.where, isMeant);
  }

  #balancing(what: string, serving: readonly string[], faults: readonly string[]): void {
    const targets = serving.length === 0 ? 'nobody' : `one of ${serving.join(', ')}`;
    const refused = serving.length === 0 ? ['no task of it serves: refused'] : [];
    this.#hop('balancing', `${what} goes to ${targets}`, [...faults, ...refused]);
  }

  async #backends(table: NetworkTable, serving: readonly string[]): Promise<NetworkHop[]> {
    for (const address of serving) {
      const endpoint = [...table.endpoints.values()].find((it) => it.address === address);
      if (endpoint) await this.#backend(table, endpoint);
    }
    return this.#hops;
  }

  async #backend(table: NetworkTable, endpoint: AssignedEndpoint): Promise<void> {
    const { address, hostAddress, containerName } = endpoint;
    const { network } = table;
    if (!network) return;
    const where = `network ${network.name}`;
    const mac = macOf(address);
    const only = (...facts: readonly string[]) =>
      this.#kernel.faults(where, (what) => facts.includes(what));
    const here = hostAddress === this.#parts.vtepAddress;
    const host = here ? 'this node' : `host ${hostAddress}`;
    this.#hop('backend', `${address} is ${containerName} on ${host}`, []);
    if (network.local) {
      const faults = here ? await this.#faultsOfMade(network, endpoint.taskId) : [];
      this.#hop('link', `${network.driver}, made by each node for itself`, faults);
      return;
    }
    if (here) {
      const port = overlayPortName(endpoint.taskId);
      const faults = await only(FACT.pinnedMac(port, mac), FACT.link(port), FACT.state(port));
      this.#hop('forwarding', `${macText(mac)} is behind ${port}`, faults);
      return;
    }
    const neighbour = FACT.neighbour(OVERLAY_VXLAN, address);
    this.#hop('neighbour', `${address} is ${macText(mac)}`, await only(neighbour));
    const beyond = FACT.remoteMac(OVERLAY_VXLAN, mac);
    this.#hop('forwarding', `${macText(mac)} is beyond ${hostAddress}`, await only(beyond));
    const ofLink = FACT.link(OVERLAY_VXLAN);
    const vxlan = await this.#kernel.faults(where, (what) => what.startsWith(ofLink));
    const outside = network.encrypted
      ? await this.#encrypted(table, endpoint)
      : { detail: 'not encrypted', faults: [] };
    const detail = `VXLAN ${network.vxlanId} to ${hostAddress}, ${outside.detail}`;
    this.#hop('underlay', detail, [...vxlan, ...outside.faults]);
  }

  async #encrypted({ network, peers }: NetworkTable, { nodeId }: AssignedEndpoint) {
    const key = peers.get(nodeId)?.encryptionKey ?? '';
    const port = network ? encryptedPort(network) : 0;
    if (key === '') {
      return {
        detail: 'WireGuard',
        faults: ['the key of that host is not known: nothing is sent'],
      };
    }
    const faults = await this.#kernel.faults(
      ENCRYPTION_SUBJECT,
      (what) => what === FACT.wireguardPeer(key) || what.includes(WIREGUARD_LINK),
    );
    return { detail: `inside WireGuard to port ${port}, peer ${key}`, faults };
  }

  #hop(step: string, detail: string, faults: readonly string[]): void {
    this.#hops.push({ step, detail, faults });
  }

  #end(step: string, detail: string, fault: string): NetworkHop[] {
    this.#hop(step, detail, [fault]);
    return this.#hops;
  }
}

/** What the kernel has otherwise than it ought to, namespace by namespace: only those that are asked about are read. */
class KernelView {
  readonly #subjects: readonly Subject[];
  /** by the namespace's name for people */
  readonly #read = new Map<string, Promise<readonly Difference[]>>();

  constructor(subjects: readonly Subject[]) {
    this.#subjects = subjects;
  }

  /** In words; why not, of a namespace that cannot be looked at. */
  async faults(where: string, concerns: (what: string) => boolean): Promise<string[]> {
    const read = this.#read.get(where) ?? this.#differencesOf(where);
    this.#read.set(where, read);
    try {
      return (await read)
        .filter(({ what }) => concerns(what))
        .map(
          ({ what, wanted, found }) =>
            `${what}: wanted ${wanted ?? 'absent'}, found ${found ?? 'absent'}`,
        );
    } catch (err) {
      return [`${where} could not be compared: ${describeError(err)}`];
    }
  }

  async #differencesOf(where: string): Promise<readonly Difference[]> {
    return (await this.#subjects.find((it) => it.where === where)?.differences()) ?? [];
  }
}

function isNamed({ name, aliases }: AssignedServiceEntry, wanted: string): boolean {
  return [name, ...aliases].some((it) => it.toLowerCase() === wanted.toLowerCase());
}
