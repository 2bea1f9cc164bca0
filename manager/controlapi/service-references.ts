/** What a service spec names beside itself: networks, secrets, configs, published ports. */
import { SkepError } from '../../common/base/errors.ts';
import { endpointOptionsOf, LINK_OPTION } from '../../common/model/endpoint-options.ts';
import { addressProblem } from '../../common/model/fixed-address.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import { isOverlay, type Network, type NetworkSpec } from '../../common/model/network.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import { referenceProblem, referencesOf } from '../../common/model/reference-check.ts';
import type { NetworkAttachmentConfig, ServiceSpec } from '../../common/model/service.ts';
import type { ReadView, WriteTx } from '../store/types.ts';
import { requireByRef } from './lookup.ts';
import { checkPublishable } from './node-made-networks.ts';
import { invalid, notDone } from './refusal.ts';

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
  checkPublishable(
    spec,
    networks.flatMap(({ target }) => tx.get('network', target)?.spec ?? []),
  );
  const resolved = { ...spec, task: { ...spec.task, networks } };
  const problem = referenceProblem(tx, resolved, serviceId);
  if (problem) throw problem;
  for (const { kind, id } of referencesOf(tx, resolved)) tx.guard('exists', kind, id);
  return resolved;
}

function resolveNetworks(
  view: ReadView,
  attachments: readonly NetworkAttachmentConfig[],
): readonly NetworkAttachmentConfig[] {
  const seen = new Set<NetworkId>();
  const links = new Set<string>();
  return attachments.map((attachment) => {
    const [option] = Object.keys(attachment.driverOptions);
    if (isPredefinedNetwork(attachment.target)) {
      if (option === undefined) return attachment;
      throw notDone(`network ${attachment.target}: DriverOpts "${option}" is`);
    }
    const network = requireNetwork(view, attachment.target);
    if (network.spec.ingress) {
      throw invalid(
        `Service cannot be explicitly attached to the ingress network "${network.spec.name}"`,
      );
    }
    if (option !== undefined) checkOptions(attachment, network.spec, links);
    checkAddresses(attachment, network.spec);
    if (seen.has(network.id)) {
      throw invalid(`network ${network.spec.name} is given twice`);
    }
    seen.add(network.id);
    return { ...attachment, target: network.id };
  });
}

/** @param links names of links that other networks of the service have; its own is added */
function checkOptions(
  { driverOptions }: NetworkAttachmentConfig,
  spec: NetworkSpec,
  links: Set<string>,
): void {
  if (!isOverlay(spec)) {
    const [option] = Object.keys(driverOptions);
    throw notDone(`network ${spec.name}: DriverOpts "${option}" in networks of ${spec.driver} are`);
  }
  try {
    const { link } = endpointOptionsOf(driverOptions);
    if (links.has(link)) throw invalid(`DriverOpts "${LINK_OPTION}": '${link}' is given twice`);
    if (link !== '') links.add(link);
  } catch (err) {
    if (!(err instanceof SkepError)) throw err;
    throw new SkepError(err.code, `network ${spec.name}: ${err.message}`);
  }
}

/** Throws `invalid-argument` when no task can have its address in this network. */
export function checkAddresses({ addresses }: NetworkAttachmentConfig, spec: NetworkSpec): void {
  const { name, ipam } = spec;
  for (const address of addresses) {
    if (!isOverlay(spec)) {
      throw invalid(`network ${name}: address ${address}: each node gives the addresses there`);
    }
    const problem = addressProblem(address, name, ipam.configs);
    if (problem !== null) throw invalid(problem);
  }
}

function requireNetwork(view: ReadView, ref: string): Network {
  if (ref === '') throw invalid('network attachment: the network has no name');
  return requireByRef(view, 'network', ref);
}
