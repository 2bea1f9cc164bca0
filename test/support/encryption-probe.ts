/**
 * Two hosts with an encrypted network on this machine; prints what was seen, one JSON object. Started in a
 * VM whose kernel has WireGuard (test/support/cgroup2-vm), for machines whose own has not.
 */
import type { AssignedEndpoint, AssignmentChange } from '../../common/model/assignment.ts';
import { asId, type NodeId } from '../../common/model/ids.ts';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
} from './network-lab.ts';
import { attachRequest, endpoint, network, service, set } from './network-scene.ts';

/** What network-encryption.test.ts reads. */
export interface EncryptionReport {
  readonly keys: readonly string[];
  readonly taskMtu: string;
  readonly byAddress: string;
  readonly byVirtualIp: string;
  /** bytes of a body that needs full packets */
  readonly bulkBytes: number;
  readonly driftsAtRest: number;
  readonly withoutKey: string;
  readonly withKeyAgain: string;
  readonly keyAfterRestart: string;
  readonly afterRestart: string;
  /** after the device was deleted by hand */
  readonly drifts: { readonly repaired: number; readonly left: number };
  readonly afterRepair: string;
  /** packets on the wire between the hosts, from before the first word to after the last */
  readonly wire: { readonly wireguard: number; readonly vxlan: number; readonly other: number };
  readonly leftovers: string;
}

const SECRET = network('secret', 4099, 3, { encrypted: true });
/** Hosts ask one another for the ways between them by echo requests, which carry nothing of a task. */
const COUNTERS = `
table bridge wire {
  counter wireguard {}
  counter vxlan {}
  counter probes {}
  counter other {}
  chain seen {
    type filter hook prerouting priority 0;
    udp dport 4790 counter name wireguard accept
    udp dport 4789 counter name vxlan accept
    ip saddr 172.30.77.0/24 icmp type { echo-request, echo-reply } counter name probes accept
    meta protocol ip counter name other
  }
}`;

async function wireOf(hub: string): Promise<EncryptionReport['wire']> {
  const listed = JSON.parse(await inNetns(hub, 'nft', '-j', 'list', 'counters')) as {
    nftables: { counter?: { name: string; packets: number } }[];
  };
  const packets = (name: string): number =>
    listed.nftables.find(({ counter }) => counter?.name === name)?.counter?.packets ?? -1;
  return { wireguard: packets('wireguard'), vxlan: packets('vxlan'), other: packets('other') };
}

class Scene {
  readonly lab: NetworkLab;
  readonly hosts: readonly LabHost[];
  readonly #seats: readonly AssignedEndpoint[];
  readonly #tasks: LabTask[] = [];
  readonly keys: string[] = [];

  constructor(lab: NetworkLab) {
    this.lab = lab;
    this.hosts = lab.hosts;
    this.#seats = [
      endpoint(SECRET, 'client', 1, this.host(0), '10.0.3.11'),
      endpoint(SECRET, 'web', 1, this.host(1), '10.0.3.12'),
    ];
  }

  host(i: number): LabHost {
    return this.hosts[i] as LabHost;
  }

  get client(): string {
    return (this.#tasks[0] as LabTask).netns;
  }

  async begin(): Promise<void> {
    for (const host of this.hosts) {
      await host.start();
      this.keys.push((await host.dataPath()).encryptionKey);
    }
    for (const host of this.hosts) await host.apply(this.everything(), true);
    for (const [i, seat] of this.#seats.entries()) {
      const task = await this.lab.task(seat.serviceName);
      this.#tasks.push(task);
      await this.host(i).attach(attachRequest([seat], task));
    }
  }

  everything(): AssignmentChange[] {
    return [
      set('network', SECRET),
      ...this.hosts.map((_, i) => this.peer(i, this.keys[i] ?? '')),
      ...this.#seats.map((seat) => set('endpoint', seat)),
      set('serviceEntry', service(SECRET, 'web', '10.0.3.2')),
    ];
  }

  peer(i: number, encryptionKey: string): AssignmentChange {
    return set('peer', {
      networkId: SECRET.id,
      nodeId: asId<NodeId>(this.host(i).nodeId),
      hostAddress: this.host(i).address,
      address: `10.0.3.${i + 3}`,
      encryptionKey,
      masquerades: false,
    });
  }

  /** The daemon of host 0 is killed and comes back. */
  async restart(): Promise<void> {
    const host = this.host(0);
    await host.crash();
    await host.start();
    const [seat] = this.#seats;
    await host.adopt(attachRequest([seat as AssignedEndpoint], this.#tasks[0] as LabTask));
    await host.apply(this.everything(), true);
  }
}

async function probe(lab: NetworkLab): Promise<EncryptionReport> {
  const scene = new Scene(lab);
  const hub = lab.outside.replace(/c$/, 'h');
  await inNetns(hub, 'nft', COUNTERS);
  await scene.begin();
  const { client } = scene;
  const ask = () => httpFrom(client, '10.0.3.12');
  const byAddress = await ask();
  const byVirtualIp = await httpFrom(client, '10.0.3.2');
  const taskMtu = /mtu \d+/.exec(await inNetns(client, 'ip', 'link', 'show', 'eth0'))?.[0] ?? '';
  const bulk = await tryInNetns(client, 'curl', '-sS', '-m', '20', 'http://10.0.3.12/bulk');
  const driftsAtRest = (await scene.host(0).verify()).drifts.length;

  await scene.host(0).apply([scene.peer(1, '')]);
  const withoutKey = await ask();
  await scene.host(0).apply([scene.peer(1, scene.keys[1] ?? '')]);
  const withKeyAgain = await ask();

  await scene.restart();
  const keyAfterRestart = (await scene.host(0).dataPath()).encryptionKey;
  const afterRestart = await ask();

  const pin = `${scene.host(0).dir}/encrypted/netns`;
  await scene.host(0).verify(true); // what the restart left to do is no drift of this deed
  const before = await scene.host(0).drifts();
  await inNetns(pin, 'ip', 'link', 'del', 'skep_wg');
  await scene.host(0).verify(true);
  const { repaired, left } = await scene.host(0).drifts();
  const drifts = { repaired: repaired - before.repaired, left };
  const afterRepair = await ask();

  for (const host of scene.hosts) await host.removeAll();
  const mounts = await tryInNetns(client, 'grep', '-c', 'encrypted/netns', '/proc/mounts');
  return {
    ...{ keys: scene.keys, taskMtu, byAddress, byVirtualIp, bulkBytes: bulk.length },
    ...{ driftsAtRest, withoutKey, withKeyAgain, keyAfterRestart, afterRestart },
    drifts,
    ...{ afterRepair, wire: await wireOf(hub) },
    leftovers: mounts.trim(),
  };
}

const lab = await NetworkLab.create('skenc', 2);
try {
  console.log(`report ${JSON.stringify(await probe(lab))}`);
} finally {
  await lab.close();
}
process.exit(0);
