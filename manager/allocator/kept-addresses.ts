/** Addresses that services name, by network: nobody else is given one, whether a task has it now or not. */
import { SkepError } from '../../common/base/errors.ts';
import { asId, type NetworkId, type ServiceId } from '../../common/model/ids.ts';
import type { Service } from '../../common/model/service.ts';
import { parseInterfaceAddress } from './cidr.ts';

export class KeptAddresses {
  /** who names an address: several may, of which one has it */
  readonly #byNetwork = new Map<NetworkId, Map<number, Set<ServiceId>>>();
  readonly #byService = new Map<ServiceId, readonly (readonly [NetworkId, number])[]>();

  /** Those of one network, as they are at any time. */
  of(networkId: NetworkId): ReadonlyMap<number, unknown> {
    let kept = this.#byNetwork.get(networkId);
    if (!kept) {
      kept = new Map();
      this.#byNetwork.set(networkId, kept);
    }
    return kept;
  }

  /** What the service names now, in place of what it named before. True when one of those is not among them: others may have it. */
  put({ id, spec }: Service): boolean {
    const before = this.#byService.get(id) ?? [];
    this.remove(id);
    const named = spec.task.networks.flatMap(({ target, addresses }) =>
      addresses.flatMap((text) => {
        const address = addressIn(text);
        return address === null ? [] : [[asId<NetworkId>(target), address] as const];
      }),
    );
    if (named.length > 0) this.#byService.set(id, named);
    for (const [networkId, address] of named) {
      const kept = this.of(networkId) as Map<number, Set<ServiceId>>;
      const services = kept.get(address);
      if (services) services.add(id);
      else kept.set(address, new Set([id]));
    }
    return before.some(
      ([network, address]) => !named.some((one) => one[0] === network && one[1] === address),
    );
  }

  /** True when it named any: they may be given to others now. */
  remove(id: ServiceId): boolean {
    const named = this.#byService.get(id) ?? [];
    this.#byService.delete(id);
    for (const [networkId, address] of named) {
      const kept = this.#byNetwork.get(networkId);
      const services = kept?.get(address);
      services?.delete(id);
      if (services?.size === 0) kept?.delete(address);
    }
    return named.length > 0;
  }

  removeNetwork(networkId: NetworkId): void {
    this.#byNetwork.delete(networkId);
  }
}

/** A stored spec was checked when it was written; what is unreadable all the same keeps nothing. */
function addressIn(text: string): number | null {
  try {
    return parseInterfaceAddress(text);
  } catch (err) {
    if (err instanceof SkepError) return null;
    throw err;
  }
}
