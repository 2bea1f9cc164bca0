/** What a service spec names beside itself: networks, secrets, configs, published ports. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import type { Network } from '../../common/model/network.ts';
import type {
  NetworkAttachmentConfig,
  PortConfig,
  Service,
  ServiceSpec,
} from '../../common/model/service.ts';
import { usesIngress } from '../../common/model/service-references.ts';
import type { ReadView, WriteTx } from '../store/types.ts';
import { findByRef, requireByRef } from './lookup.ts';
import { failed, invalid, notDone } from './refusal.ts';

/** Networks that every engine has by itself. */
export const PREDEFINED_NETWORKS: readonly string[] = ['bridge', 'host', 'none'];

/**
 * The spec with the ids of its networks in place of their names, after a check of everything it
 * refers to: which is there still when the spec is written. `serviceId` = the service being updated; null
 * for a new one.
 */
export function resolveReferences(
  tx: WriteTx,
  spec: ServiceSpec,
  serviceId: string | null,
): ServiceSpec {
  const networks = resolveNetworks(tx, spec.task.networks);
  requireFiles(tx, spec);
  requireIngressNetwork(tx, spec);
  checkPortConflicts(tx, spec, serviceId);
  return { ...spec, task: { ...spec.task, networks } };
}

function resolveNetworks(
  tx: WriteTx,
  attachments: readonly NetworkAttachmentConfig[],
): readonly NetworkAttachmentConfig[] {
  const seen = new Set<NetworkId>();
  return attachments.map((attachment) => {
    const network = requireNetwork(tx, attachment.target);
    if (network.spec.ingress) {
      throw invalid(
        `Service cannot be explicitly attached to the ingress network "${network.spec.name}"`,
      );
    }
    const [option] = Object.keys(attachment.driverOptions);
    if (option !== undefined)
      throw notDone(`network ${network.spec.name}: DriverOpts "${option}" is`);
    if (seen.has(network.id)) {
      throw invalid(`network ${network.spec.name} is given twice`);
    }
    seen.add(network.id);
    tx.guard('exists', 'network', network.id);
    return { ...attachment, target: network.id };
  });
}

function requireNetwork(view: ReadView, ref: string): Network {
  if (ref === '') throw invalid('network attachment: the network has no name');
  if (!findByRef(view, 'network', ref) && PREDEFINED_NETWORKS.includes(ref)) {
    throw notDone(`network "${ref}": services in a predefined network are`);
  }
  return requireByRef(view, 'network', ref);
}

function requireFiles(tx: WriteTx, spec: ServiceSpec): void {
  const { secrets, configs } = spec.task.container;
  checkExist(
    'secret',
    secrets
      .filter((ref) => tx.get('secret', ref.secretId)?.spec.name !== ref.secretName)
      .map((ref) => ref.secretName),
  );
  checkExist(
    'config',
    configs
      .filter((ref) => tx.get('config', ref.configId)?.spec.name !== ref.configName)
      .map((ref) => ref.configName),
  );
  for (const { secretId } of secrets) tx.guard('exists', 'secret', secretId);
  for (const { configId } of configs) tx.guard('exists', 'config', configId);
}

function checkExist(kind: 'secret' | 'config', missing: readonly string[]): void {
  if (missing.length === 0) return;
  throw invalid(`${kind}${missing.length > 1 ? 's' : ''} not found: ${missing.join(', ')}`);
}

function requireIngressNetwork(tx: WriteTx, spec: ServiceSpec): void {
  if (!usesIngress(spec)) return;
  const ingress = tx.list('network').find((network) => network.spec.ingress);
  if (!ingress) throw failed('service needs ingress network, but no ingress network is present');
  tx.guard('exists', 'network', ingress.id);
}

/** Best effort: ports that the allocator chose meanwhile are its to refuse. */
function checkPortConflicts(view: ReadView, spec: ServiceSpec, serviceId: string | null): void {
  const wanted = spec.endpoint.ports.filter((port) => port.publishedPort !== 0);
  if (wanted.length === 0) return;
  for (const service of view.list('service')) {
    if (service.id === serviceId) continue;
    for (const used of publishedPorts(service)) {
      const port = wanted.find((candidate) => conflicts(candidate, used));
      if (!port) continue;
      const as = used.publishMode === 'ingress' ? 'an ingress port' : 'a host-published port';
      throw new SkepError(
        'invalid-argument',
        `port '${port.publishedPort}' is already in use by service '${service.spec.name}' (${service.id}) as ${as}`,
      );
    }
  }
}

function publishedPorts(service: Service): readonly PortConfig[] {
  return [...service.spec.endpoint.ports, ...(service.endpoint?.ports ?? [])];
}

/** Two host ports may be equal: the scheduler keeps their tasks on different nodes. */
function conflicts(a: PortConfig, b: PortConfig): boolean {
  if (a.publishedPort !== b.publishedPort || a.protocol !== b.protocol) return false;
  return a.publishMode === 'ingress' || b.publishMode === 'ingress';
}
