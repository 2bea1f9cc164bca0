/**
 * The networks of containers outside of services: finds what a person named, gives and takes places, and
 * answers for names in each container's namespace. Knows neither processes nor records.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import type { DnsForwarder } from './dns-forwarder.ts';
import { emptyAnswer, RCODE, readQuestion } from './dns-message.ts';
import { type AnswerQuery, DnsServer } from './dns-server.ts';
import { answerFromLocal, LocalNames } from './local-names.ts';
import { DEFAULT_BRIDGE_ID, isBuiltIn, type LocalNetwork, macBytes } from './local-network.ts';
import type { LocalEndpoint, LocalNetworks } from './local-networks.ts';
import type { LocalPlace, LocalSeat } from './local-plan.ts';
import type { PortWish } from './local-ports.ts';

const TCP_BYTES_MAX = 65_535;

/** Another name that one container alone has for one in the same network. */
export interface NetworkLink {
  readonly alias: string;
  /** name or id of the other */
  readonly target: string;
}

/** What a person wants of one network. */
export interface EndpointWish {
  /** name or id */
  readonly network: string;
  readonly aliases: readonly string[];
  /** '' = any */
  readonly address: string;
  /** '' = by the address */
  readonly mac: string;
  /** absent = none */
  readonly links?: readonly NetworkLink[];
}

/** A container's place in one network; to be kept over restarts of the daemon. */
export interface ContainerSeat extends LocalSeat {
  readonly name: string;
  readonly aliases: readonly string[];
  /** absent = none */
  readonly links?: readonly NetworkLink[];
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

export interface ContainerNetworksOptions {
  readonly local: LocalNetworks;
  readonly forwarder: Pick<DnsForwarder, 'forward'>;
  readonly upstreamNameservers: () => readonly string[];
  readonly random: Random;
  readonly log: Logger;
}

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

  /** True when names are asked of the resolver in the container's own namespace. */
  static hasResolver({ seats }: ContainerPlace): boolean {
    return seats.some(({ networkId }) => networkId !== DEFAULT_BRIDGE_ID);
  }

  /** With the networks' names. Rejects for one that is not known, or cannot be asked for what is wanted. */
  resolve(wishes: readonly EndpointWish[]): EndpointWish[] {
    const resolved: EndpointWish[] = [];
    for (const wish of wishes) {
      const network = this.#networkOf(wish).spec.name;
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
    await this.#forget(container.id); // what a start that was cut short left; `local` does so itself
    const member: Member = { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    try {
      const wanted = wishes.map((wish) => ({ wish, network: this.#networkOf(wish) }));
      const endpoints = wanted.map(({ wish, network }) => endpointOf(wish, network));
      const { id, netnsPath } = container;
      const place = await this.#options.local.attach(id, netnsPath, endpoints, ports);
      for (const { wish, network } of wanted) this.#take(member, wish, network, place);
      await this.#openResolver(member);
      return { seats: member.seats, ports: place.ports };
    } catch (err) {
      await this.detach(container.id);
      throw err;
    }
  }

  /** One more network for a container that runs. */
  async connect(container: NetworkedContainer, wish: EndpointWish): Promise<ContainerPlace> {
    const network = this.#networkOf(wish);
    const member = this.#members.get(container.id) ?? { container, seats: [], resolver: null };
    this.#members.set(container.id, member);
    const { id, netnsPath } = container;
    const place = await this.#options.local.connect(id, netnsPath, endpointOf(wish, network));
    this.#take(member, wish, network, place);
    try {
      await this.#openResolver(member);
    } catch (err) {
      await this.disconnect(id, network.id);
      throw err;
    }
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
    await this.#options.local.disconnect(containerId, networkId);
    this.#names.remove(networkId, containerId);
    member.seats = member.seats.filter((one) => one !== seat);
    return this.#placeOf(member);
  }

  /** It has ended, or is to go. Idempotent. */
  async detach(containerId: string): Promise<void> {
    await this.#forget(containerId);
    await this.#options.local.detach(containerId);
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
  }

  #networkOf({ network, mac, address, aliases }: EndpointWish): LocalNetwork {
    if (mac !== '') macBytes(mac);
    const found = this.#options.local.find(network);
    if (!found) throw new SkepError('not-found', `network ${network} not found`);
    if (isBuiltIn(found)) refuseOnBridge(address, aliases);
    return found;
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
    const { id, name } = container;
    for (const { networkId, address, aliases } of seats) {
      if (networkId === DEFAULT_BRIDGE_ID) continue;
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
    const { id, netnsPath } = member.container;
    const resolver = new DnsServer(this.#answerFor(id));
    await resolver.open(netnsPath);
    // It may have been let go of meanwhile.
    if (this.#members.get(id) === member) member.resolver = resolver;
    else await resolver.close();
  }

  #answerFor(containerId: string): AnswerQuery {
    const { forwarder, random, upstreamNameservers } = this.#options;
    return (query, transport) => {
      const member = this.#members.get(containerId);
      if (!member) return null;
      const question = readQuestion(query);
      if (question) {
        const bytesMax = transport === 'udp' ? question.udpBytesMax : TCP_BYTES_MAX;
        const asked = member.seats.map(({ networkId: id, name, links = [] }) => ({
          id,
          name,
          links,
        }));
        const local = answerFromLocal(this.#names, asked, query, question, bytesMax, random);
        if (local) return local;
      }
      // Names would be a way out of networks that have none.
      if (!member.seats.some(({ gateway }) => gateway !== '')) {
        return emptyAnswer(query, question, RCODE.serverFailure);
      }
      const own = member.container.nameservers;
      const servers = own.length > 0 ? own : upstreamNameservers();
      return forwarder.forward(query, question, servers, transport);
    };
  }
}

function endpointOf({ address, mac }: EndpointWish, { id }: LocalNetwork): LocalEndpoint {
  return { networkId: id, address, mac };
}

/** The network `bridge` is for what wants nothing of it. */
function refuseOnBridge(address: string, aliases: readonly string[]): void {
  if (address !== '') {
    const words = 'user specified IP address is supported on user defined networks only';
    throw new SkepError('invalid-argument', words);
  }
  if (aliases.length === 0) return;
  const words = 'network-scoped aliases are only supported for containers in user-defined networks';
  throw new SkepError('invalid-argument', words);
}
