/**
 * Networks that have no configuration of their own: they take it from another one of the node that they are on,
 * which is for nothing else. So each node has its own link and its own part of the addresses for one network.
 */
import { SkepError } from '../base/errors.ts';
import { type NetworkSpec, NODE_DRIVERS } from './network.ts';

/** Why there cannot be such a network, whether of a node or of the cluster; null = nothing of this is in the way. */
export function configNetworkProblem(spec: NetworkSpec): SkepError | null {
  if (spec.configOnly) return configOnlyProblem(spec);
  return spec.configFrom === '' ? null : dependentProblem(spec);
}

/** Of one that is to be more than words for others. */
export function operatorFieldsProblem(): SkepError {
  return denied(
    'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.',
  );
}

function configOnlyProblem({
  ingress,
  internal,
  attachable,
  configFrom,
}: NetworkSpec): SkepError | null {
  if (ingress || internal || attachable) return operatorFieldsProblem();
  if (configFrom === '') return null;
  return denied('a configuration network depends on another configuration network');
}

function dependentProblem(spec: NetworkSpec): SkepError | null {
  const { driver, driverOptions, ipam, ipv6, labels } = spec;
  if (!NODE_DRIVERS.includes(driver)) {
    const words = `ConfigFrom: networks of driver ${driver} take no configuration from a node: those of ${NODE_DRIVERS.join(', ')} do`;
    return new SkepError('invalid-argument', words);
  }
  const isConfigured =
    (ipam.driver !== '' && ipam.driver !== 'default') ||
    Object.keys(ipam.options).length > 0 ||
    ipam.configs.length > 0 ||
    ipv6 ||
    Object.keys(labels).length > 0;
  if (isConfigured) {
    return denied(
      'user specified configurations are not supported if the network depends on a configuration network',
    );
  }
  if (Object.keys(driverOptions).length === 0) return null;
  return denied(
    'network driver options are not supported if the network depends on a configuration network',
  );
}

const denied = (words: string): SkepError => new SkepError('permission-denied', words);
