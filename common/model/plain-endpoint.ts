/** Services whose tasks need nothing of the allocator: no address, no virtual IP, no port of the whole cluster. */
import { isPredefinedNetwork } from './predefined-networks.ts';
import type { Endpoint, EndpointSpec, ServiceSpec } from './service.ts';

/** One object for all tasks of a service: they are many, and what they share is compared by identity. */
const endpoints = new WeakMap<EndpointSpec, Endpoint>();

/**
 * The endpoint of a service whose tasks take part in no network but those that each node has by itself, and whose ports
 * are its nodes' own: what the allocator would give it, by its words alone. null = it is to be allocated.
 */
export function plainEndpointOf({ endpoint: spec, task }: ServiceSpec): Endpoint | null {
  if (!task.networks.every(({ target }) => isPredefinedNetwork(target))) return null;
  if (!spec.ports.every(({ publishMode }) => publishMode === 'host')) return null;
  const known = endpoints.get(spec);
  if (known) return known;
  const endpoint: Endpoint = { spec, ports: spec.ports, virtualIps: [] };
  endpoints.set(spec, endpoint);
  return endpoint;
}
