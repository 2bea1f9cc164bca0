/** The places of a container in networks, taken and left by hand. Not for concurrent use. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkedContainer } from '../network/container-networks.ts';
import { type EndpointWish, NO_PLACE } from '../network/container-place.ts';
import type { ContainerParts } from './container-parts.ts';
import { type ContainerDefinition, endpointsOf } from './definition.ts';
import { namesAt } from './launch.ts';
import type { PeerOf } from './peers.ts';
import type { RecordKeeper } from './record-keeper.ts';
import type { ContainerRecord } from './record-store.ts';

export interface SeatedContainer {
  readonly keeper: RecordKeeper;
  readonly parts: Pick<ContainerParts, 'networks' | 'files' | 'nameservers'>;
  readonly hostname: string;
  readonly peerOf: PeerOf;
  /** null while it does not run */
  readonly networked: NetworkedContainer | null;
}

/** A place in one more network: at once if it runs, else from its next start on. */
export async function connectNetwork(seated: SeatedContainer, asked: EndpointWish): Promise<void> {
  const {
    keeper,
    parts: { networks },
  } = seated;
  requireNetworked(keeper.record.definition);
  const [wish] = await networks.resolve([asked]);
  const before = endpointsOf(keeper.record.definition);
  if (!wish || before.some(({ network }) => network === wish.network)) {
    const words = `endpoint with name ${keeper.record.name} already exists in network ${asked.network}`;
    throw new SkepError('permission-denied', words);
  }
  const definition = withEndpoints(keeper.record, [...before, wish]);
  if (keeper.record.phase !== 'running' || !seated.networked) return keeper.put({ definition });
  const place = await networks.connect(seated.networked, wish);
  await keeper.put({ definition, place });
  await writeNames(seated);
}

/** Out of a network, as `connectNetwork`. Rejects with `permission-denied` when it is not in it. */
export async function disconnectNetwork(seated: SeatedContainer, name: string): Promise<void> {
  const {
    keeper,
    parts: { networks },
  } = seated;
  requireNetworked(keeper.record.definition);
  const before = endpointsOf(keeper.record.definition);
  const rest = before.filter(({ network }) => network !== name);
  if (rest.length === before.length) {
    const words = `container ${keeper.record.id} is not connected to network ${name}`;
    throw new SkepError('permission-denied', words);
  }
  const definition = withEndpoints(keeper.record, rest);
  const seat = keeper.record.place?.seats.find((one) => one.name === name);
  if (keeper.record.phase !== 'running' || !seat) return keeper.put({ definition });
  const place = await networks.disconnect(keeper.record.id, seat.networkId);
  await keeper.put({ definition, place });
  await writeNames(seated);
}

/** Written together with the place: what is wanted and what is there must not differ for the next daemon. */
function withEndpoints(
  { definition }: ContainerRecord,
  endpoints: readonly EndpointWish[],
): ContainerDefinition {
  return { ...definition, network: { kind: 'bridge', endpoints } };
}

/** As they are for its places now. */
export async function writeNames(seated: SeatedContainer): Promise<void> {
  const { keeper, parts, hostname, peerOf } = seated;
  const { id, definition, place } = keeper.record;
  const sources = { ofHost: parts.nameservers(), peerOf };
  const names = namesAt(definition, place ?? NO_PLACE, hostname, sources);
  await parts.files.writeNames(id, names);
}

function requireNetworked({ network }: ContainerDefinition): void {
  if (network.kind === 'bridge') return;
  const words = `container sharing network namespace with another container or host cannot be connected to any other network: its network is ${network.kind}`;
  throw new SkepError('permission-denied', words);
}
