/**
 * The networks of containers outside of services, of this node and of the cluster: finds what a person named, gives
 * and takes places, and answers for names in each container's namespace. Knows neither processes nor records.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import { asId, type NetworkId } from '../../common/model/ids.ts';
import type { AttachableNetwork } from '../../common/rpc/attachment-methods.ts';
import { macOf, macText, parsePrefix } from '../../native/ffi/net/address.ts';
import { OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import type { ClusterSeats, SeatedInCluster } from './cluster-seats.ts';
import {
  type ContainerPlace,
  type ContainerSeat,
  type EndpointWish,
  freeLink,
  hasResolver,
  isNamed,
  refuseOnBridge,
} from './container-place.ts';
import { resolverSubject } from './container-resolvers.ts';
import type { DnsAsker } from './dns-asker.ts';
import { type DnsForwarder, ownUpstream } from './dns-forwarder.ts';
import { emptyAnswer, RCODE, readQuestion } from './dns-message.ts';
import { type AnswerQuery, DnsServer } from './dns-server.ts';
import { type AskedNetwork, answerFromLocal, LocalNames, lookupLocal } from './local-names.ts';
import { GATEWAY_NETWORK_ID, isBuiltIn, type LocalNetwork, macBytes } from './local-network.ts';
import type { LocalEndpoint, LocalNetworks } from './local-networks.ts';
import type { LocalPlace } from './local-plan.ts';
import type { PortWish } from './local-ports.ts';
import type { WantedName } from './name-check.ts';
import type { Subject } from './self-proof.ts';

const TCP_BYTES_MAX = 65_535;

/** A container whose networks are looked after. */
export interface NetworkedContainer {
  /** 64 hexadecimal characters */
  readonly id: string;
  readonly name: string;
  /** as others know it */
  readonly hostname: string;
  readonly netnsPath: string;
  /** asked for names of others; empty = those of the host */
  readonly nameservers: readonly string[];
}

export interface ContainerNetworksOptions {
  readonly local: LocalNetworks;
  /** null while this node has no part in a cluster */
  readonly cluster: () => ClusterSeats | null;
  readonly forwarder: Pick<DnsForwarder, 'forward'>;
  /** by which resolvers are tried */
  readonly asker: DnsAsker;
  readonly upstreamNameservers: () => readonly string[];
  readonly random: Random;
  readonly log: Logger;
}

interface FoundInCluster extends AttachableNetwork {
  readonly kind: 'cluster';
}

type FoundNetwork =
  | FoundInCluster
  | {
      readonly kind: 'local';
      readonly id: string;
      readonly name: string;
      readonly network: LocalNetwork;
    };

const ON_GATEWAY: LocalEndpoint = { networkId: GATEWAY_NETWORK_ID, address: '', mac: '' };

interface Member {
  container: NetworkedContainer;
  seats: readonly ContainerSeat[];
  resolver: DnsServer | null;
}

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
    const places = running.map(({ container: { id, netnsPath }, place }) => {
      return [id, { ...place, netnsPath }] as const;
    });
    // Before anything is awaited: one that ends meanwhile is let go as any other.
    const members = running.map(({ container, place: { seats } }): Member => {
      return { container, seats, resolver: null };
    });
    for (const member of members) {
      this.#members.set(member.container.id, member);
      this.#nameAll(member);
    }
    try {
      await this.#options.local.start(new Map(places));
    } finally {
      for (const member of members) await this.#reopenResolver(member);
    }
  }

  async #reopenResolver(member: Member): Promise<void> {
    const { id } = member.container;
    if (this.#members.get(id) !== member) return;
    await this.#openResolver(member).catch((err: unknown) => {
      this.#options.log.error({ containerId: id, err }, 'resolver is not opened');
    });
  }

  /** Leaves everything in the kernel as it is. */
  async stop(): Promise<void> {
    for (const { resolver } of this.#members.values()) await resolver?.close();
    this.#members.clear();
    await this.#options.local.stop();
  }

  isolate(netnsPath: string): Promise<void> {
    return this.#options.local.isolate(netnsPath);
  }

  /** Those that run and have places in networks of the cluster, for who takes them up there. */
  seatedInCluster(): SeatedInCluster[] {
    return [...this.#members.values()].map(inCluster).filter(({ seats }) => seats.length > 0);
  }

  /** With the networks' names. Rejects for one that is not known, or cannot be asked for what is wanted. */
  async resolve(wishes: readonly EndpointWish[]): Promise<EndpointWish[]> {
    const resolved: EndpointWish[] = [];
    for (const wish of wishes) {
      const found = await this.#find(wish);
      const isOfCluster = found.kind === 'cluster' ? { isOfCluster: true as const } : {};
      if (resolved.some((one) => one.network === found.name)) {
        throw new SkepError('invalid-argument', `network ${found.name} is named twice`);
      }
      resolved.push({ ...wish, network: found.name, ...isOfCluster });
    }
    return resolved;
  }

  /** Gives a container that does not run yet its places; all or nothing. */
  async attach(
    container: NetworkedContainer,
    wishes: readonly EndpointWish[],
    ports: readonly PortWish[],
  ): Promise<ContainerPlace> {
    await this.#forget(container.id); // what a start that was cut short left; `local` does so itself
    await this.#options.cluster()?.detach(container.id);
    const member: Member = { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    try {
      const wanted: { readonly wish: EndpointWish; readonly found: FoundNetwork }[] = [];
      for (const wish of wishes) wanted.push({ wish, found: await this.#find(wish) });
      const { id, netnsPath } = container;
      const endpoints = wanted.flatMap(({ wish, found }) =>
        found.kind === 'local' ? [endpointOf(wish, found.network)] : [],
      );
      if (wantsGateway(wanted.map(({ found }) => found))) endpoints.push(ON_GATEWAY);
      const place = await this.#options.local.attach(id, netnsPath, endpoints, ports);
      this.#takeGateway(member, place);
      for (const { wish, found } of wanted) {
        if (found.kind === 'local') this.#take(member, wish, found.network, place);
      }
      // When it is known which links are taken.
      for (const { wish, found } of wanted) {
        if (found.kind === 'cluster') await this.#takeInCluster(member, wish, found);
      }
      await this.#plugIntoCluster(member);
      await this.#openResolver(member);
      return { seats: member.seats, ports: place.ports };
    } catch (err) {
      await this.detach(container.id);
      throw err;
    }
  }

  /** One more network for a container that runs. */
  async connect(container: NetworkedContainer, wish: EndpointWish): Promise<ContainerPlace> {
    const found = await this.#find(wish);
    const member = this.#members.get(container.id) ?? { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    const { id, netnsPath } = container;
    try {
      if (found.kind === 'local') {
        const endpoint = endpointOf(wish, found.network);
        const place = await this.#options.local.connect(id, netnsPath, endpoint);
        this.#take(member, wish, found.network, place);
      } else {
        await this.#takeInCluster(member, wish, found);
        await this.#plugIntoCluster(member);
      }
      await this.#settleGateway(member);
      await this.#openResolver(member);
    } catch (err) {
      if (member.seats.some(({ name }) => name === found.name)) await this.#leave(member, found.id);
      throw err;
    }
    return this.#placeOf(member);
  }

  /** Takes a container that runs out of one network. Rejects when it is not there. */
  async disconnect(containerId: string, networkId: string): Promise<ContainerPlace> {
    const member = this.#members.get(containerId);
    if (!member?.seats.some((one) => one.networkId === networkId)) {
      const words = `container ${containerId} is not connected to network ${networkId}`;
      throw new SkepError('permission-denied', words);
    }
    await this.#leave(member, networkId);
    await this.#settleGateway(member);
    return this.#placeOf(member);
  }

  async #leave(member: Member, networkId: string): Promise<void> {
    const { id } = member.container;
    const seat = member.seats.find((one) => one.networkId === networkId);
    const rest = member.seats.filter((one) => one !== seat);
    if (seat?.ofCluster) {
      const cluster = this.#requireCluster(seat.name);
      await cluster.plug(inCluster({ ...member, seats: rest }));
      cluster.release(id, asId<NetworkId>(networkId));
    } else {
      await this.#options.local.disconnect(id, networkId);
    }
    this.#names.remove(networkId, id);
    member.seats = rest;
  }

  /** It has ended, or is to go. Idempotent. */
  async detach(containerId: string): Promise<void> {
    await this.#forget(containerId);
    await this.#options.local.detach(containerId);
    await this.#options.cluster()?.detach(containerId);
  }

  /** Its names, and its resolver. */
  async #forget(containerId: string): Promise<void> {
    const member = this.#members.get(containerId);
    this.#members.delete(containerId);
    for (const { networkId } of member?.seats ?? []) this.#names.remove(networkId, containerId);
    await member?.resolver?.close();
  }

  /** Its name in its networks is another from now on. */
  renamed(containerId: string, name: string): void {
    const member = this.#members.get(containerId);
    if (!member) return;
    // In place: a connect under way goes on with the same member.
    member.container = { ...member.container, name };
    this.#nameAll(member);
    this.#options.cluster()?.renamed(containerId, name);
  }

  /** This node's own before the cluster's. Rejects as `resolve`. */
  async #find({
    network,
    mac,
    address,
    aliases,
    isOfCluster,
  }: EndpointWish): Promise<FoundNetwork> {
    if (mac !== '') macBytes(mac);
    const found = isOfCluster ? null : this.#options.local.find(network);
    if (found) {
      if (isBuiltIn(found)) refuseOnBridge(address, aliases);
      return { kind: 'local', id: found.id, name: found.spec.name, network: found };
    }
    const ofCluster = await this.#requireCluster(network).find(network);
    if (mac !== '') {
      const words = `network ${ofCluster.name}: a MAC address follows from the address in networks of the cluster, it cannot be chosen`;
      throw new SkepError('unimplemented', words);
    }
    return { kind: 'cluster', ...ofCluster };
  }

  #requireCluster(network: string): ClusterSeats {
    const cluster = this.#options.cluster();
    if (cluster) return cluster;
    throw new SkepError('not-found', `network ${network} not found`);
  }

  /** Its place is known; its link is not made yet. */
  async #takeInCluster(
    member: Member,
    { address, aliases }: EndpointWish,
    { id: networkId, name, internal }: FoundInCluster,
  ): Promise<void> {
    const { container, seats } = member;
    if (seats.some((seat) => seat.networkId === networkId)) {
      const words = `endpoint with name ${container.name} already exists in network ${name}`;
      throw new SkepError('permission-denied', words);
    }
    const cluster = this.#requireCluster(name);
    const link = freeLink(seats);
    const given = await cluster.take(container, { networkId, address, aliases, link });
    const { address: own, length } = parsePrefix(given);
    const seat = {
      ...{ networkId, link, address: own, prefixLength: length, gateway: '' },
      ...{ mac: macText(macOf(own)), name, aliases, ofCluster: { internal } },
    };
    member.seats = [...member.seats, seat];
  }

  async #plugIntoCluster(member: Member): Promise<void> {
    const container = inCluster(member);
    if (container.seats.length > 0) await this.#options.cluster()?.plug(container);
  }

  /** A way out beside networks of the cluster, where no other network is one; and none where nothing asks for it. */
  async #settleGateway(member: Member): Promise<void> {
    const { local } = this.#options;
    const { id, netnsPath } = member.container;
    const others = member.seats.filter(({ networkId }) => networkId !== GATEWAY_NETWORK_ID);
    const hasOne = others.length < member.seats.length;
    const wants = others.some(({ ofCluster }) => ofCluster?.internal === false);
    const hasOther = others.some(({ gateway }) => gateway !== '');
    if (hasOne && !wants) {
      await local.disconnect(id, GATEWAY_NETWORK_ID);
      member.seats = others;
    } else if (!hasOne && wants && !hasOther) {
      this.#takeGateway(member, await local.connect(id, netnsPath, ON_GATEWAY));
    }
  }

  #takeGateway(member: Member, { seats }: LocalPlace): void {
    const seat = seats.find(({ networkId }) => networkId === GATEWAY_NETWORK_ID);
    if (!seat) return;
    member.seats = [...member.seats, { ...seat, name: GATEWAY_NETWORK_ID, aliases: [] }];
  }

  #take(
    member: Member,
    { aliases, links }: EndpointWish,
    { id, spec }: LocalNetwork,
    place: LocalPlace,
  ): void {
    const seat = place.seats.find(({ networkId }) => networkId === id);
    assert(seat !== undefined, `network ${spec.name} gave no place`);
    member.seats = [
      ...member.seats,
      { ...seat, name: spec.name, aliases, ...(links && { links }) },
    ];
    this.#nameAll(member);
  }

  #nameAll({ container, seats }: Member): void {
    const { id, name, hostname } = container;
    for (const { networkId, address, aliases, ofCluster } of seats) {
      if (ofCluster || !isNamed(networkId)) continue;
      const names = [name, id.slice(0, SHORT_ID_CHARS), id, hostname, ...aliases];
      this.#names.set(networkId, id, names, address);
    }
  }

  #placeOf({ container, seats }: Member): ContainerPlace {
    return { seats, ports: this.#options.local.portsOf(container.id) };
  }

  async #openResolver(member: Member): Promise<void> {
    if (member.resolver || !hasResolver(member)) return;
    const { id, netnsPath } = member.container;
    const resolver = new DnsServer(this.#answerFor(id));
    await resolver.open(netnsPath);
    // It may have been let go of meanwhile.
    if (this.#members.get(id) === member) member.resolver = resolver;
    else await resolver.close();
  }

  /** What is to be tried of the containers' names, for a proof that was asked for. */
  subjects(): Subject[] {
    const { asker } = this.#options;
    return [...this.#members.values()].filter(hasResolver).map((member) => {
      const { id, netnsPath } = member.container;
      return resolverSubject(asker, {
        where: `container ${id.slice(0, SHORT_ID_CHARS)}`,
        netnsPath,
        wanted: () => (this.#members.get(id) === member ? this.#namesToAsk(member) : null),
        reopen: async () => {
          await member.resolver?.close();
          member.resolver = null;
          await this.#openResolver(member);
        },
      });
    });
  }

  /** Its own name, and what it alone calls others. */
  #namesToAsk(member: Member): WantedName[] {
    const { container, seats } = member;
    const aliases = seats.flatMap(({ links = [] }) => links.map(({ alias }) => alias));
    const networkIds = inCluster(member).seats.map(({ networkId }) => networkId);
    return [...new Set([container.name, ...aliases])].flatMap((name) => {
      const local = lookupLocal(this.#names, askedBy(member), name);
      const addresses =
        local.length > 0 ? local : this.#options.cluster()?.lookup(networkIds, name);
      return addresses ? [{ name, addresses }] : [];
    });
  }

  #answerFor(containerId: string): AnswerQuery {
    const { forwarder, random, upstreamNameservers } = this.#options;
    return (query, transport, nsPath) => {
      const member = this.#members.get(containerId);
      if (!member) return null;
      const question = readQuestion(query);
      if (question) {
        const bytesMax = transport === 'udp' ? question.udpBytesMax : TCP_BYTES_MAX;
        const asked = askedBy(member);
        const local = answerFromLocal(this.#names, asked, query, question, bytesMax, random);
        if (local) return local;
        const networkIds = inCluster(member).seats.map(({ networkId }) => networkId);
        const ofCluster = this.#options.cluster()?.answer(networkIds, query, question, bytesMax);
        if (ofCluster) return ofCluster;
      }
      const own = ownUpstream(member.container.nameservers, nsPath);
      if (own) return forwarder.forward(containerId, query, question, own, transport);
      // Asked for by the host, names would be a way out of networks that have none.
      if (!member.seats.some(({ gateway }) => gateway !== '')) {
        return emptyAnswer(query, question, RCODE.serverFailure);
      }
      const upstream = { servers: upstreamNameservers(), nsPath: OWN_NAMESPACE };
      return forwarder.forward(containerId, query, question, upstream, transport);
    };
  }
}

/** Its networks as its resolver goes through them. */
function askedBy({ seats }: Pick<Member, 'seats'>): AskedNetwork[] {
  return seats.map(({ networkId: id, name, links = [] }) => ({ id, name, links }));
}

/** Without those of this node. */
function inCluster({ container, seats }: Pick<Member, 'container' | 'seats'>): SeatedInCluster {
  return {
    ...container,
    seats: seats.flatMap(({ networkId, address, prefixLength, aliases, link, ofCluster }) => {
      const cidr = `${address}/${prefixLength}`;
      return ofCluster
        ? [{ networkId: asId<NetworkId>(networkId), address: cidr, aliases, link }]
        : [];
    }),
  };
}

/** Networks of the cluster are no way out by themselves; another one of this node may be. */
function wantsGateway(found: readonly FoundNetwork[]): boolean {
  const hasOther = found.some((one) => one.kind === 'local' && !one.network.spec.internal);
  return !hasOther && found.some((one) => one.kind === 'cluster' && !one.internal);
}

function endpointOf({ address, mac }: EndpointWish, { id }: LocalNetwork): LocalEndpoint {
  return { networkId: id, address, mac };
}
