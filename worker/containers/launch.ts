/** What stands between a container at rest and one that runs: made anew, with its limits and its network. */
import { SkepError } from '../../common/base/errors.ts';
import { resourcesOf } from '../executor/oci-resources.ts';
import type { NameFiles } from '../executor/task-files.ts';
import { addressesOf, type ContainerPlace, hasResolver } from '../network/container-place.ts';
import type { ContainerBundle, ContainerState } from '../runtime/native-runtime.ts';
import type { OciResources } from '../runtime/oci.ts';
import type { ContainerParts } from './container-parts.ts';
import { type ContainerDefinition, endpointsOf } from './definition.ts';
import { linkEnvironment, linkHosts } from './links.ts';
import { hostnameForOthers, nameFiles } from './name-texts.ts';
import { type PeerOf, withJoined } from './peers.ts';
import type { ContainerRecord } from './record-store.ts';

export interface ReadyOptions {
  /** also one that is made already: it has something of other containers, whose processes may be new */
  readonly isAnew: boolean;
  readonly peerOf: PeerOf;
}

/** The runtime's container, made and not started. Rejects with `data-loss` when its files are gone. */
export async function readyContainer(
  parts: Pick<ContainerParts, 'runtime' | 'hostFacts' | 'volumes'>,
  { id, name, definition }: ContainerRecord,
  { isAnew, peerOf }: ReadyOptions,
): Promise<ContainerState> {
  const { runtime, volumes } = parts;
  const gone = (): SkepError => {
    return new SkepError('data-loss', `start container ${id}: its files are gone`);
  };
  if (!runtime.get(id)) throw gone();
  if (isAnew) await runtime.killAll(id);
  if (runtime.get(id)?.status === 'exited') {
    const limits = await limitsOf(parts, definition);
    await volumes.mountAgain(id); // or it would write into the folders below
    const environment = linkEnvironment(name, definition.links ?? [], peerOf);
    await runtime.renew(id, (bundle) => {
      const joined = withJoined(bundle, definition, peerOf);
      return withEnvironment(withLimits(joined, limits), environment);
    });
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
  peerOf: PeerOf,
): Promise<ContainerRecord['place']> {
  const { id, name, definition } = record;
  const { network, container, ports } = definition;
  if (netnsPath === null) throw new SkepError('conflict', `container ${id} has ended`);
  if (network.kind === 'none') await networks.isolate(netnsPath);
  if (network.kind !== 'bridge') return null;
  const { nameservers: own } = container.dns;
  const place = await networks.attach(
    { id, name, hostname: hostnameForOthers(definition, id), netnsPath, nameservers: own },
    endpointsOf(definition),
    ports,
  );
  await files.writeNames(
    id,
    namesAt(definition, place, hostname, { ofHost: nameservers(), peerOf }),
  );
  return place;
}

/** Who answers for names beside the container itself. */
export interface NameSources {
  /** this machine's resolvers */
  readonly ofHost: readonly string[];
  readonly peerOf: PeerOf;
}

/** Its name files, for the place that it has. */
export function namesAt(
  { container, links }: ContainerDefinition,
  place: ContainerPlace,
  hostname: string,
  { ofHost, peerOf }: NameSources,
): NameFiles {
  return nameFiles({
    container: { ...container, hosts: [...container.hosts, ...linkHosts(links ?? [], peerOf)] },
    hostname,
    addresses: addressesOf(place),
    hasResolver: hasResolver(place),
    isOnHost: false,
    nameservers: ofHost,
    gateway: place.seats.find(({ gateway }) => gateway !== '')?.gateway ?? null,
  });
}

function withLimits(bundle: ContainerBundle, limits: Partial<OciResources>): ContainerBundle {
  const { spec } = bundle;
  const resources = { ...limits, devices: spec.linux.resources.devices };
  return { ...bundle, spec: { ...spec, linux: { ...spec.linux, resources } } };
}

/** What it was made with comes last: it may say otherwise. */
function withEnvironment(bundle: ContainerBundle, further: readonly string[]): ContainerBundle {
  if (further.length === 0) return bundle;
  const { spec } = bundle;
  const ownEnv = bundle.ownEnv ?? spec.process.env;
  const nameOf = (entry: string): string => entry.slice(0, entry.indexOf('='));
  const own = new Set(ownEnv.map(nameOf));
  const env = [...further.filter((entry) => !own.has(nameOf(entry))), ...ownEnv];
  return { ...bundle, ownEnv, spec: { ...spec, process: { ...spec.process, env } } };
}
