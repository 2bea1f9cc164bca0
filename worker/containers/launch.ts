/** What stands between a container at rest and one that runs: made anew, with its limits and its network. */
import { SkepError } from '../../common/base/errors.ts';
import { resourcesOf } from '../executor/oci-resources.ts';
import type { NameFiles } from '../executor/task-files.ts';
import { ContainerNetworks, type ContainerPlace } from '../network/container-networks.ts';
import type { ContainerBundle, ContainerState } from '../runtime/native-runtime.ts';
import type { OciResources } from '../runtime/oci.ts';
import type { ContainerParts } from './container-parts.ts';
import { type ContainerDefinition, endpointsOf } from './definition.ts';
import { nameFiles } from './name-texts.ts';
import type { ContainerRecord } from './record-store.ts';

export interface ReadyOptions {
  /** also one that is made already: another container's network is joined, whose process may be new */
  readonly isAnew: boolean;
  /** of another container of this node; null = it does not run */
  readonly netnsOf: (containerId: string) => string | null;
}

/** The runtime's container, made and not started. Rejects with `data-loss` when its files are gone. */
export async function readyContainer(
  parts: Pick<ContainerParts, 'runtime' | 'hostFacts'>,
  { id, definition }: ContainerRecord,
  { isAnew, netnsOf }: ReadyOptions,
): Promise<ContainerState> {
  const { runtime } = parts;
  const gone = (): SkepError => {
    return new SkepError('data-loss', `start container ${id}: its files are gone`);
  };
  if (!runtime.get(id)) throw gone();
  if (isAnew) await runtime.killAll(id);
  if (runtime.get(id)?.status === 'exited') {
    const limits = await limitsOf(parts, definition);
    await runtime.renew(id, (bundle) => renewed(bundle, definition, limits, netnsOf));
  }
  const state = runtime.get(id);
  if (!state) throw gone();
  return state;
}

/** As the definition has them now; device rules stay as they were made. */
export async function limitsOf(
  { hostFacts }: Pick<ContainerParts, 'hostFacts'>,
  definition: ContainerDefinition,
): Promise<Partial<OciResources>> {
  const { blockDevices } = await hostFacts(definition);
  return resourcesOf(definition.resources, blockDevices);
}

/** Its place in its networks, whose addresses are written into its hosts file; null = it has none. */
export async function attachNetwork(
  { networks, files, nameservers }: Pick<ContainerParts, 'networks' | 'files' | 'nameservers'>,
  record: ContainerRecord,
  hostname: string,
  netnsPath: string | null,
): Promise<ContainerRecord['place']> {
  const { id, name, definition } = record;
  const { network, container, ports } = definition;
  if (netnsPath === null) throw new SkepError('conflict', `container ${id} has ended`);
  if (network.kind === 'none') await networks.isolate(netnsPath);
  if (network.kind !== 'bridge') return null;
  const { nameservers: own } = container.dns;
  const place = await networks.attach(
    { id, name, netnsPath, nameservers: own },
    endpointsOf(definition),
    ports,
  );
  await files.writeNames(id, namesAt(definition, place, hostname, nameservers()));
  return place;
}

/** Its name files, for the place that it has. @param ofHost this machine's resolvers */
export function namesAt(
  { container }: ContainerDefinition,
  place: ContainerPlace,
  hostname: string,
  ofHost: readonly string[],
): NameFiles {
  return nameFiles({
    container,
    hostname,
    addresses: place.seats.map(({ address }) => address),
    hasResolver: ContainerNetworks.hasResolver(place),
    isOnHost: false,
    nameservers: ofHost,
    gateway: place.seats.find(({ gateway }) => gateway !== '')?.gateway ?? null,
  });
}

function renewed(
  bundle: ContainerBundle,
  { network }: ContainerDefinition,
  limits: Partial<OciResources>,
  netnsOf: ReadyOptions['netnsOf'],
): ContainerBundle {
  const { spec } = bundle;
  const path = network.kind === 'container' ? requireNetns(network.containerId, netnsOf) : null;
  const namespaces = spec.linux.namespaces.map((one) =>
    one.type === 'network' && path !== null ? { ...one, path } : one,
  );
  const resources = { ...limits, devices: spec.linux.resources.devices };
  return { ...bundle, spec: { ...spec, linux: { ...spec.linux, namespaces, resources } } };
}

function requireNetns(containerId: string, netnsOf: ReadyOptions['netnsOf']): string {
  const path = netnsOf(containerId);
  if (path !== null) return path;
  const words = `cannot join network of a non running container: ${containerId}`;
  throw new SkepError('conflict', words);
}
