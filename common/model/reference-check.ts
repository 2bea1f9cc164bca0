/**
 * Whether all that a service's spec names is there, and whether the ports that it names are free. For who
 * writes a spec: the control API by a user's word, the orchestrator when an update is rolled back.
 */
import { SkepError } from '../base/errors.ts';
import { sharesPort } from './host-ip.ts';
import type { Network } from './network.ts';
import { overlapProblem } from './network-overlap.ts';
import type { ObjectKind, ObjectsByKind } from './object-kinds.ts';
import { isPredefinedNetwork } from './predefined-networks.ts';
import type { PortConfig, Service, ServiceSpec } from './service.ts';
import { usesIngress } from './service-references.ts';

/** The objects of the cluster, as a view of the store has them. */
export interface ObjectSource {
  get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined;
  list<K extends ObjectKind>(kind: K): readonly ObjectsByKind[K][];
}

export interface Reference {
  readonly kind: 'network' | 'secret' | 'config';
  readonly id: string;
}

/** What must stay there as long as the spec is in force. Networks go by id in it. */
export function referencesOf(source: ObjectSource, spec: ServiceSpec): Reference[] {
  const { networks, container } = spec.task;
  const ingress = usesIngress(spec) ? ingressNetwork(source) : undefined;
  const targets = networks.map(({ target }) => target).filter((id) => !isPredefinedNetwork(id));
  return [
    ...[...targets, ...(ingress ? [ingress.id] : [])].map(
      (id): Reference => ({ kind: 'network', id }),
    ),
    ...container.secrets.map(({ secretId }): Reference => ({ kind: 'secret', id: secretId })),
    ...container.configs.map(({ configId }): Reference => ({ kind: 'config', id: configId })),
  ];
}

/**
 * Why the spec cannot be in force; null = it can.
 * @param serviceId whose spec it is: its own ports are no obstacle; null = of one that is not there yet
 */
export function referenceProblem(
  source: ObjectSource,
  spec: ServiceSpec,
  serviceId: string | null,
): SkepError | null {
  return (
    missingNetwork(source, spec) ??
    missingFiles(source, spec) ??
    missingIngress(source, spec) ??
    overlappingNetworks(source, spec) ??
    portConflict(source.list('service'), spec, serviceId)
  );
}

function missingNetwork(source: ObjectSource, { task }: ServiceSpec): SkepError | null {
  const missing = task.networks.find(
    ({ target }) => !isPredefinedNetwork(target) && !source.get('network', target),
  );
  return missing ? new SkepError('not-found', `network ${missing.target} not found`) : null;
}

/** An object of the same name that was made since is another one. */
function missingFiles(source: ObjectSource, { task }: ServiceSpec): SkepError | null {
  const { secrets, configs } = task.container;
  return (
    notFound(
      'secret',
      secrets
        .filter((ref) => source.get('secret', ref.secretId)?.spec.name !== ref.secretName)
        .map((ref) => ref.secretName),
    ) ??
    notFound(
      'config',
      configs
        .filter((ref) => source.get('config', ref.configId)?.spec.name !== ref.configName)
        .map((ref) => ref.configName),
    )
  );
}

function notFound(kind: 'secret' | 'config', missing: readonly string[]): SkepError | null {
  if (missing.length === 0) return null;
  const words = `${kind}${missing.length > 1 ? 's' : ''} not found: ${missing.join(', ')}`;
  return new SkepError('invalid-argument', words);
}

function missingIngress(source: ObjectSource, spec: ServiceSpec): SkepError | null {
  if (!usesIngress(spec) || ingressNetwork(source)) return null;
  return new SkepError(
    'failed-precondition',
    'service needs ingress network, but no ingress network is present',
  );
}

function ingressNetwork(source: ObjectSource): Network | undefined {
  return source.list('network').find((network) => network.spec.ingress);
}

/** The ingress network is one of the task's where ports are published. */
function overlappingNetworks(source: ObjectSource, spec: ServiceSpec): SkepError | null {
  const ingress = usesIngress(spec) ? ingressNetwork(source) : undefined;
  const own = spec.task.networks.flatMap(({ target }) => source.get('network', target) ?? []);
  const problem = overlapProblem([...own, ...(ingress ? [ingress] : [])]);
  return problem === null ? null : new SkepError('invalid-argument', problem);
}

/** Best effort: ports that the allocator chose meanwhile are its to refuse. */
export function portConflict(
  services: readonly Service[],
  spec: ServiceSpec,
  serviceId: string | null,
): SkepError | null {
  const wanted = spec.endpoint.ports.filter((port) => port.publishedPort !== 0);
  if (wanted.length === 0) return null;
  for (const service of services) {
    if (service.id === serviceId) continue;
    for (const used of publishedPorts(service)) {
      const port = wanted.find((candidate) => conflicts(candidate, used));
      if (!port) continue;
      const as = used.publishMode === 'ingress' ? 'an ingress port' : 'a host-published port';
      return new SkepError(
        'invalid-argument',
        `port '${port.publishedPort}' is already in use by service '${service.spec.name}' (${service.id}) as ${as}`,
      );
    }
  }
  return null;
}

/** The first published port that the two cannot have at once; null = none. */
export function sharedPort(a: ServiceSpec, b: ServiceSpec): number | null {
  const wanted = a.endpoint.ports.filter((port) => port.publishedPort !== 0);
  const shared = wanted.find((port) => b.endpoint.ports.some((used) => conflicts(port, used)));
  return shared?.publishedPort ?? null;
}

function publishedPorts(service: Service): readonly PortConfig[] {
  return [...service.spec.endpoint.ports, ...(service.endpoint?.ports ?? [])];
}

/** Two host ports may be equal: the scheduler keeps their tasks on different nodes. */
function conflicts(a: PortConfig, b: PortConfig): boolean {
  return sharesPort(a, b) && (a.publishMode === 'ingress' || b.publishMode === 'ingress');
}
