/** Networks that take options and addresses from a configuration network of their node. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkSpec } from '../../common/model/network.ts';
import type { LocalNetwork } from './local-network.ts';

/** This node's configuration network of that name; null = it has none. */
export type ConfigByName = (name: string) => LocalNetwork | null;

/** The spec with all that it takes from its configuration network. Throws `not-found` when there is none. */
export function configured(spec: NetworkSpec, configOf: ConfigByName): NetworkSpec {
  const { configFrom } = spec;
  if (configFrom === '') return spec;
  const config = configOf(configFrom);
  if (!config) {
    throw new SkepError('not-found', `configuration network "${configFrom}" does not exist`);
  }
  const { labels, driverOptions, ipam, ipv6 } = config.spec;
  return { ...spec, labels, driverOptions, ipam, ipv6 };
}

/** Throws `permission-denied`: a configuration network is nothing but words. */
export function refuseConfig({ spec }: LocalNetwork): void {
  if (!spec.configOnly) return;
  const words = `network ${spec.name} is a configuration network: no container can be in it`;
  throw new SkepError('permission-denied', words);
}
