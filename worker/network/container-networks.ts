/**
 * The networks of containers outside of services: this node's own, and those of the cluster that may be
 * attached to by hand. Finds what a person named, joins the places of both kinds in one namespace, and
 * answers for names there. Knows neither processes nor records.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import type { DnsForwarder } from './dns-forwarder.ts';
import { readQuestion } from './dns-message.ts';
import { type AnswerQuery, DnsServer } from './dns-server.ts';
import { answerFromLocal, LocalNames } from './local-names.ts';
import { DEFAULT_BRIDGE_ID, isBuiltIn, macBytes, WAY_OUT_ID } from './local-network.ts';
import type { LocalEndpoint, LocalNetworks } from './local-networks.ts';
import type { LocalPlace, LocalSeat } from './local-plan.ts';
import type { PortWish } from './local-ports.ts';

const TCP_BYTES_MAX = 65_535;
const HEADER_BYTES = 12;

/** What a person wants of one network. */
export interface EndpointWish {
  /** name or id */
  readonly network: string;
  readonly aliases: readonly string[];
  /** '' = any */
  readonly address: string;
  /** '' = by the address */
  readonly mac: string;
}

/** A container's place in one network; to be kept over restarts of the daemon. */
export interface ContainerSeat extends LocalSeat {
  readonly name: string;
  readonly aliases: readonly string[];
  /** it is a network of the cluster */
  readonly ofCluster: boolean;
}

export interface ContainerPlace extends LocalPlace {
  readonly seats: readonly ContainerSeat[];
}

export const NO_PLACE: ContainerPlace = { seats: [], ports: [] };

/** A container whose networks are looked after. */
export interface NetworkedContainer {
  /** 64 hexadecimal characters */
  readonly id: string;
  readonly name: string;
  readonly netnsPath: string;
  /** asked for names of others; empty = those of the host */
  readonly nameservers: readonly string[];
}

export interface ClusterNetwork {
  readonly id: string;
  readonly name: string;
  readonly internal: boolean;
}

/** What the cluster's side does for one container and network. */
export interface ClusterNetworks {
  /** Null when there is none of that name or id. Rejects for one that is not attachable. */
  find(ref: string): Promise<ClusterNetwork | null>;
  /** Rejects when the managers refuse, or do not answer. */
  attach(
    container: NetworkedContainer,
    network: ClusterNetwork,
    wish: EndpointWish,
  ): Promise<LocalSeat>;
  /** Takes up a seat that was given in an earlier life of the daemon. */
  adopt(container: NetworkedContainer, seats: readonly ContainerSeat[]): Promise<void>;
  /** Idempotent. */
  detach(containerId: string, networkId: string | null): Promise<void>;
  /** Answers what is known of `networkIds`; null = nothing. */
  answer(networkIds: readonly string[], query: Buffer, bytesMax: number): Buffer | null;
}

export interface ContainerNetworksOptions {
  readonly local: LocalNetworks;
  /** null while this node is in no cluster */
  readonly cluster: () => ClusterNetworks | null;
  readonly forwarder: Pick<DnsForwarder, 'forward'>;
  readonly upstreamNameservers: () => readonly string[];
  readonly random: Random;
  readonly log: Logger;
}

interface Member {
  readonly container: NetworkedContainer;
  seats: readonly ContainerSeat[];
  resolver: DnsServer | null;
}

type Target =
  | {
      readonly kind: 'local';
      readonly id: string;
      readonly name: string;
      readonly wish: EndpointWish;
    }
  | { readonly kind: 'cluster'; readonly network: ClusterNetwork; readonly wish: EndpointWish };

export class ContainerNetworks {
  readonly #options: ContainerNetworksOptions;
  readonly #names = new LocalNames();
  readonly #members = new Map<string, Member>();

  constructor(options: ContainerNetworksOptions) {
    this.#options = options;
  }

  /** Takes up the containers that run from before this daemon. */
  async start(
    running: readonly { readonly container: NetworkedContainer; readonly place: ContainerPlace }[],
  ): Promise<void> {
    const places = running.map(({ container, place }) => {
      const seats = place.seats.filter(({ ofCluster }) => !ofCluster);
      return [container.id, { ...place, seats, netnsPath: container.netnsPath }] as const;
    });
    await this.#options.local.start(new Map(places));
    for (const { container, place } of running) {
      const member: Member = { container, seats: place.seats, resolver: null };
      this.#members.set(container.id, member);
      this.#nameAll(member);
      await this.#openResolver(member).catch((err: unknown) => {
        this.#options.log.error({ containerId: container.id, err }, 'resolver is not opened');
      });
    }
  }

  /** Leaves everything in the kernel as it is. */
  async stop(): Promise<void> {
    for (const { resolver } of this.#members.values()) await resolver?.close();
    this.#members.clear();
    await this.#options.local.stop();
  }

  /** The node joined a cluster, or came back to it: seats of before are taken up. */
  async joined(): Promise<void> {
    const cluster = this.#options.cluster();
    for (const { container, seats } of this.#members.values()) {
      const ofCluster = seats.filter((seat) => seat.ofCluster);
      if (ofCluster.length === 0) continue;
      await cluster?.adopt(container, ofCluster).catch((err: unknown) => {
        const { log } = this.#options;
        log.error({ containerId: container.id, err }, 'networks of container are not taken up');
      });
    }
  }

  isolate(netnsPath: string): Promise<void> {
    return this.#options.local.isolate(netnsPath);
  }

  /** True when names are asked of the resolver in the container's own namespace. */
  static hasResolver({ seats }: ContainerPlace): boolean {
    return seats.some(
      (seat) => seat.networkId !== DEFAULT_BRIDGE_ID && seat.networkId !== WAY_OUT_ID,
    );
  }

  /** With the networks' names. Rejects for one that is not known, or cannot be asked for what is wanted. */
  async resolve(wishes: readonly EndpointWish[]): Promise<EndpointWish[]> {
    const resolved: EndpointWish[] = [];
    for (const wish of wishes) {
      const target = await this.#target(wish);
      const network = target.kind === 'local' ? target.name : target.network.name;
      if (resolved.some((one) => one.network === network)) {
        throw new SkepError('invalid-argument', `network ${network} is named twice`);
      }
      resolved.push({ ...wish, network });
    }
    return resolved;
  }

  /** Gives a container that does not run yet its places; all or nothing. */
  async attach(
    container: NetworkedContainer,
    wishes: readonly EndpointWish[],
    ports: readonly PortWish[],
  ): Promise<ContainerPlace> {
    await this.detach(container.id); // what a start that was cut short left
    const targets: Target[] = [];
    for (const wish of wishes) targets.push(await this.#target(wish));
    const member: Member = { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    try {
      const { local } = this.#options;
      const endpoints = targets.flatMap((one) => (one.kind === 'local' ? [endpointOf(one)] : []));
      const wayOut = this.#needsWayOut(targets) ? [WAY_OUT_ENDPOINT] : [];
      const { id, netnsPath } = container;
      const place = await local.attach(id, netnsPath, [...endpoints, ...wayOut], ports);
      for (const target of targets) {
        if (target.kind === 'local') this.#take(member, target.wish, this.#placed(place, target));
        else await this.#joinCluster(member, target.network, target.wish);
      }
      const hidden = place.seats.find(({ networkId }) => networkId === WAY_OUT_ID);
      if (hidden) this.#take(member, WAY_OUT_WISH, { ...hidden, ...WAY_OUT_MARK });
      await this.#openResolver(member);
      return { seats: member.seats, ports: place.ports };
    } catch (err) {
      await this.detach(container.id);
      throw err;
    }
  }

  /** One more network for a container that runs. */
  async connect(container: NetworkedContainer, wish: EndpointWish): Promise<ContainerPlace> {
    const target = await this.#target(wish);
    const member = this.#members.get(container.id) ?? { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    const { local } = this.#options;
    if (target.kind === 'local') {
      const place = await local.connect(container.id, container.netnsPath, endpointOf(target));
      this.#take(member, wish, this.#placed(place, target));
    } else {
      await this.#joinCluster(member, target.network, wish);
    }
    await this.#openResolver(member);
    return this.#placeOf(member);
  }

  /** Takes a container that runs out of one network. Rejects when it is not there. */
  async disconnect(containerId: string, networkId: string): Promise<ContainerPlace> {
    const member = this.#members.get(containerId);
    const seat = member?.seats.find((one) => one.networkId === networkId);
    if (!member || !seat) {
      const words = `container ${containerId} is not connected to network ${networkId}`;
      throw new SkepError('permission-denied', words);
    }
    if (seat.ofCluster) await this.#options.cluster()?.detach(containerId, networkId);
    else await this.#options.local.disconnect(containerId, networkId);
    this.#names.remove(networkId, containerId);
    member.seats = member.seats.filter((one) => one !== seat);
    return this.#placeOf(member);
  }

  /** It has ended, or is to go. Idempotent. */
  async detach(containerId: string): Promise<void> {
    const member = this.#members.get(containerId);
    this.#members.delete(containerId);
    await member?.resolver?.close();
    for (const { networkId } of member?.seats ?? []) this.#names.remove(networkId, containerId);
    await this.#options.local.detach(containerId);
    await this.#options.cluster()?.detach(containerId, null);
  }

  /** Its name in its networks is another from now on. */
  renamed(containerId: string, name: string): void {
    const member = this.#members.get(containerId);
    if (!member) return;
    const renamed = { ...member, container: { ...member.container, name } };
    this.#members.set(containerId, renamed);
    this.#nameAll(renamed);
  }

  /** Local first: a name of this node hides the cluster's, as Docker has it. */
  async #target(wish: EndpointWish): Promise<Target> {
    if (wish.mac !== '') macBytes(wish.mac);
    const found = this.#options.local.find(wish.network);
    if (found) {
      if (isBuiltIn(found)) refuseOnBridge(wish);
      return { kind: 'local', id: found.id, name: found.spec.name, wish };
    }
    const network = await this.#options.cluster()?.find(wish.network);
    if (network) return { kind: 'cluster', network, wish };
    throw new SkepError('not-found', `network ${wish.network} not found`);
  }

  /** Networks of the cluster lead nowhere else by themselves. */
  #needsWayOut(targets: readonly Target[]): boolean {
    const leadsOut = targets.some(
      (one) => one.kind === 'local' && !this.#options.local.get(one.id)?.spec.internal,
    );
    return !leadsOut && targets.some((one) => one.kind === 'cluster' && !one.network.internal);
  }

  async #joinCluster(member: Member, network: ClusterNetwork, wish: EndpointWish): Promise<void> {
    const cluster = this.#options.cluster();
    if (!cluster) throw new SkepError('not-found', `network ${wish.network} not found`);
    const seat = await cluster.attach(member.container, network, wish);
    this.#take(member, wish, { ...seat, name: network.name, ofCluster: true });
  }

  #placed(place: LocalPlace, { id, name }: Target & { readonly kind: 'local' }) {
    const seat = place.seats.find(({ networkId }) => networkId === id);
    if (!seat) throw new SkepError('internal', `attach to network ${name}: it gave no place`);
    return { ...seat, name, ofCluster: false };
  }

  #take(
    member: Member,
    { aliases }: Pick<EndpointWish, 'aliases'>,
    seat: Omit<ContainerSeat, 'aliases'>,
  ): void {
    member.seats = [...member.seats, { ...seat, aliases }];
    this.#nameAll(member);
  }

  #nameAll({ container, seats }: Member): void {
    const { id, name } = container;
    for (const { networkId, address, aliases, ofCluster } of seats) {
      if (ofCluster || networkId === DEFAULT_BRIDGE_ID || networkId === WAY_OUT_ID) continue;
      const names = [name, id.slice(0, SHORT_ID_CHARS), id, ...aliases];
      this.#names.set(networkId, id, names, address);
    }
  }

  #placeOf({ container, seats }: Member): ContainerPlace {
    return { seats, ports: this.#options.local.portsOf(container.id) };
  }

  async #openResolver(member: Member): Promise<void> {
    if (member.resolver || !ContainerNetworks.hasResolver({ seats: member.seats, ports: [] }))
      return;
    const resolver = new DnsServer(this.#answerFor(member.container.id));
    await resolver.open(member.container.netnsPath);
    member.resolver = resolver;
  }

  #answerFor(containerId: string): AnswerQuery {
    const { cluster, forwarder, random, upstreamNameservers } = this.#options;
    return (query, transport) => {
      const member = this.#members.get(containerId);
      if (query.length < HEADER_BYTES || !member) return null;
      const question = readQuestion(query);
      if (question) {
        const bytesMax = transport === 'udp' ? question.udpBytesMax : TCP_BYTES_MAX;
        const asked = member.seats.map(({ networkId: id, name }) => ({ id, name }));
        const local = answerFromLocal(this.#names, asked, query, question, bytesMax, random);
        const ids = member.seats.filter((one) => one.ofCluster).map((one) => one.networkId);
        const known = local ?? cluster()?.answer(ids, query, bytesMax);
        if (known) return known;
      }
      const own = member.container.nameservers;
      const servers = own.length > 0 ? own : upstreamNameservers();
      return forwarder.forward(query, question, servers, transport);
    };
  }
}

const WAY_OUT_WISH: EndpointWish = { network: WAY_OUT_ID, aliases: [], address: '', mac: '' };
const WAY_OUT_ENDPOINT: LocalEndpoint = { networkId: WAY_OUT_ID, address: '', mac: '' };
const WAY_OUT_MARK = { name: WAY_OUT_ID, ofCluster: false } as const;

function endpointOf({ id, wish }: Target & { readonly kind: 'local' }): LocalEndpoint {
  return { networkId: id, address: wish.address, mac: wish.mac };
}

/** The network `bridge` is for what wants nothing of it. */
function refuseOnBridge({ address, aliases }: EndpointWish): void {
  if (address !== '') {
    const words = 'user specified IP address is supported on user defined networks only';
    throw new SkepError('invalid-argument', words);
  }
  if (aliases.length === 0) return;
  const words = 'network-scoped aliases are only supported for containers in user-defined networks';
  throw new SkepError('invalid-argument', words);
}
