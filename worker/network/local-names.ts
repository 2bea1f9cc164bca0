/**
 * Names of containers in this node's own networks, and what a question for one means to a container of
 * some of them. Pure.
 */
import { type Random, shuffled } from '../../common/base/random.ts';
import {
  addressAnswer,
  emptyAnswer,
  pointerAnswer,
  type Question,
  RCODE,
  reverseAddress,
  TYPE,
} from './dns-message.ts';

/** A container starts again with another address: clients must see that soon. */
const TTL_SECONDS = 2;

interface Named {
  readonly names: readonly string[];
  readonly address: string;
}

/** Names are compared in lower case. */
export class LocalNames {
  /** network -> container -> its names there */
  readonly #networks = new Map<string, Map<string, Named>>();

  /** @param names the first is what an address is asked back to */
  set(networkId: string, containerId: string, names: readonly string[], address: string): void {
    const network = this.#networks.get(networkId) ?? new Map<string, Named>();
    network.set(containerId, { names: names.map((name) => name.toLowerCase()), address });
    this.#networks.set(networkId, network);
  }

  remove(networkId: string, containerId: string): void {
    const network = this.#networks.get(networkId);
    network?.delete(containerId);
    if (network?.size === 0) this.#networks.delete(networkId);
  }

  /** Of all in the network that are called so. */
  lookup(networkId: string, name: string): string[] {
    const wanted = name.toLowerCase();
    const holders = [...(this.#networks.get(networkId)?.values() ?? [])];
    return [...new Set(holders.filter((it) => it.names.includes(wanted)).map((it) => it.address))];
  }

  reverse(networkId: string, address: string): string | null {
    for (const named of this.#networks.get(networkId)?.values() ?? []) {
      if (named.address === address) return named.names[0] ?? null;
    }
    return null;
  }
}

/** A network of the container that asks. */
export interface AskedNetwork {
  readonly id: string;
  readonly name: string;
  /** what it alone calls others there */
  readonly links: readonly { readonly alias: string; readonly target: string }[];
}

/** The response from this node's names; null when they do not cover the question. */
export function answerFromLocal(
  names: LocalNames,
  networks: readonly AskedNetwork[],
  query: Buffer,
  question: Question,
  bytesMax: number,
  random: Random,
): Buffer | null {
  if (question.type === TYPE.ptr) {
    const address = reverseAddress(question.name);
    const found = networks.flatMap(({ id, name }) => {
      const holder = address === null ? null : names.reverse(id, address);
      return holder === null ? [] : [`${holder}.${name}`];
    });
    return found.length > 0 ? pointerAnswer(query, question, found, TTL_SECONDS) : null;
  }
  const addresses = lookupLocal(names, networks, question.name);
  if (addresses.length === 0) return null;
  // A name of ours without this kind of record: it exists, and nobody else may answer for it.
  if (question.type !== TYPE.a && question.type !== TYPE.any) {
    return emptyAnswer(query, question, RCODE.noError);
  }
  return addressAnswer(query, question, shuffled(addresses, random), TTL_SECONDS, bytesMax);
}

/** Who is called so in the first network that knows it; `NAME.NETWORK` in that network alone. */
export function lookupLocal(
  names: LocalNames,
  networks: readonly AskedNetwork[],
  name: string,
): string[] {
  const asked = name.toLowerCase();
  for (const { id, links } of networks) {
    const link = links.find(({ alias }) => alias.toLowerCase() === asked);
    const found = names.lookup(id, link?.target ?? name);
    if (found.length > 0) return found;
  }
  for (const network of networks) {
    const suffix = `.${network.name.toLowerCase()}`;
    if (!asked.endsWith(suffix)) continue;
    const found = names.lookup(network.id, asked.slice(0, -suffix.length));
    if (found.length > 0) return found;
  }
  return [];
}
