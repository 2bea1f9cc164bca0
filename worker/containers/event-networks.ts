/** The networks of a container outside of services as its events name them. Pure. */
import type { EventNetwork } from '../executor/container-events.ts';
import { GATEWAY_NETWORK_ID } from '../network/local-network.ts';
import type { ContainerRecord } from './record-store.ts';

/** Those that it is in now: none while it does not run, nor those of another container whose namespace it is in. */
export function eventNetworks(
  { phase, place, definition: { network } }: ContainerRecord,
  driverOf: (networkId: string) => string | null,
): EventNetwork[] {
  if (phase !== 'running') return [];
  if (network.kind === 'host' || network.kind === 'none') {
    const { kind } = network;
    return [{ id: kind, name: kind, type: kind === 'none' ? 'null' : kind }];
  }
  const seats = (place?.seats ?? []).filter(({ networkId }) => networkId !== GATEWAY_NETWORK_ID);
  return seats.map(({ networkId, name, ofCluster }) => ({
    ...{ id: networkId, name },
    type: ofCluster ? 'overlay' : driverOf(networkId),
  }));
}
