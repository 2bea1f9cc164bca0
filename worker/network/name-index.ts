/**
 * The names of one network and what they stand for, kept by increments. Pure: knows neither DNS
 * messages nor the kernel.
 */
import type { AssignedEndpoint, AssignedServiceEntry } from '../../common/model/assignment.ts';
import { containerIdOf, defaultHostname } from '../../common/model/container-id.ts';
import type { ServiceId } from '../../common/model/ids.ts';

/** One meaning of a name. */
interface Meaning {
  /** null = every serving task of the service */
  readonly address: string | null;
  /** whose name it is; null = a task's own */
  readonly serviceId: ServiceId | null;
  /** of the service among those that have the name; null = not told */
  readonly weight: number | null;
}

/** What one holder of a name stands for. */
export interface NameShare extends Pick<Meaning, 'serviceId' | 'weight'> {
  readonly addresses: readonly string[];
}

/** Names are compared in lower case. INVARIANT: a name without meanings is not in the index. */
export class NameIndex {
  readonly #names = new Map<string, Map<string, Meaning>>();
  readonly #reverse = new Map<string, Map<string, string>>();

  /** `endpoint` must be serving: others have no names. */
  addEndpoint(endpoint: AssignedEndpoint): void {
    const meaning: Meaning = { address: endpoint.address, serviceId: null, weight: null };
    for (const name of endpointNames(endpoint)) this.#add(name, endpoint.taskId, meaning);
    this.#addReverse(endpoint.address, endpoint.taskId, endpoint.containerName);
  }

  removeEndpoint(endpoint: AssignedEndpoint): void {
    for (const name of endpointNames(endpoint)) this.#remove(this.#names, name, endpoint.taskId);
    this.#remove(this.#reverse, endpoint.address, endpoint.taskId);
  }

  addService(entry: AssignedServiceEntry): void {
    const { serviceId, weight, virtualIp } = entry;
    const whole: Meaning = { address: virtualIp, serviceId, weight };
    const tasks: Meaning = { address: null, serviceId, weight: null };
    for (const name of [entry.name, ...entry.aliases]) {
      this.#add(name, entry.serviceId, whole);
      this.#add(`tasks.${name}`, entry.serviceId, tasks);
    }
    if (entry.virtualIp !== null) this.#addReverse(entry.virtualIp, entry.serviceId, entry.name);
  }

  removeService(entry: AssignedServiceEntry): void {
    for (const name of [entry.name, ...entry.aliases]) {
      this.#remove(this.#names, name, entry.serviceId);
      this.#remove(this.#names, `tasks.${name}`, entry.serviceId);
    }
    if (entry.virtualIp !== null) this.#remove(this.#reverse, entry.virtualIp, entry.serviceId);
  }

  /**
   * Whom a lower-case name stands for; null when it is not known here. A service without serving
   * tasks is known and, without a virtual IP, has no address.
   */
  lookup(name: string, servingOf: (serviceId: ServiceId) => Iterable<string>): NameShare[] | null {
    const meanings = this.#names.get(name);
    if (!meanings) return null;
    return Array.from(meanings.values(), ({ address, serviceId, weight }) => {
      const tasks = address === null && serviceId !== null ? [...servingOf(serviceId)] : [];
      return { addresses: address === null ? tasks : [address], serviceId, weight };
    });
  }

  /** Names of the holder of an address, without the network's. */
  reverse(address: string): string[] {
    return [...(this.#reverse.get(address)?.values() ?? [])];
  }

  #add(name: string, owner: string, meaning: Meaning): void {
    const key = name.toLowerCase();
    if (key === '') return;
    const meanings = this.#names.get(key) ?? new Map<string, Meaning>();
    meanings.set(owner, meaning);
    this.#names.set(key, meanings);
  }

  #addReverse(address: string, owner: string, name: string): void {
    const names = this.#reverse.get(address) ?? new Map<string, string>();
    names.set(owner, name);
    this.#reverse.set(address, names);
  }

  #remove(index: Map<string, Map<string, unknown>>, name: string, owner: string): void {
    const key = name.toLowerCase();
    const owners = index.get(key);
    owners?.delete(owner);
    if (owners?.size === 0) index.delete(key);
  }
}

function endpointNames(endpoint: AssignedEndpoint): string[] {
  const names = [
    endpoint.containerName,
    endpoint.hostname,
    containerIdOf(endpoint.taskId),
    // The container's short id, which is also the host name of one that was given none.
    defaultHostname(endpoint.taskId),
  ];
  if (endpoint.slot > 0) names.push(`${endpoint.serviceName}.${endpoint.slot}`);
  // A task of no service answers to its own aliases; a service's are those of its entry.
  if (endpoint.serviceId === '') names.push(...endpoint.aliases);
  return names;
}
