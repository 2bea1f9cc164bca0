/** What a service's spec refers to among the objects of the cluster. Pure; looks nothing up. */

import type { Network } from './network.ts';
import type { AnyObject, ObjectKind } from './object-kinds.ts';
import type { ServiceSpec } from './service.ts';

/** Whether the service cannot do without `object`: it may not be removed then. */
export function refersTo(spec: ServiceSpec, kind: ObjectKind, object: AnyObject): boolean {
  const { container, networks } = spec.task;
  switch (kind) {
    case 'secret':
      return container.secrets.some(({ secretId }) => secretId === object.id);
    case 'config':
      return container.configs.some(({ configId }) => configId === object.id);
    case 'network':
      return (
        networks.some(({ target }) => target === object.id) ||
        ((object as Network).spec.ingress && usesIngress(spec))
      );
    default:
      return false;
  }
}

/** Whether a port of it is published on every node. */
export function usesIngress({ endpoint }: ServiceSpec): boolean {
  return (
    endpoint.mode === 'vip' && endpoint.ports.some(({ publishMode }) => publishMode === 'ingress')
  );
}
