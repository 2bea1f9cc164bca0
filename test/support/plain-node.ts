/**
 * A node's containers outside of services, over its rooms and a network of the node's own, for suites that let its
 * process die.
 */
import { join } from 'node:path';
import { silentLogger } from '../../common/base/log.ts';
import { NO_RESOURCES } from '../../common/model/service.ts';
import type { ContainerDefinition, RestartRule } from '../../worker/containers/definition.ts';
import { PlainContainers } from '../../worker/containers/plain-containers.ts';
import { RecordStore } from '../../worker/containers/record-store.ts';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { DEFAULT_NODE_SETTINGS } from '../../worker/executor/node-settings.ts';
import { ContainerNetworks } from '../../worker/network/container-networks.ts';
import { DnsAsker } from '../../worker/network/dns-asker.ts';
import { DnsForwarder } from '../../worker/network/dns-forwarder.ts';
import { Ipv4Forwarding } from '../../worker/network/ipv4-forwarding.ts';
import { LocalNetworkStore } from '../../worker/network/local-network-store.ts';
import { LocalNetworks } from '../../worker/network/local-networks.ts';
import { LocalPorts } from '../../worker/network/local-ports.ts';
import { RESOLVER_TIMEOUT_MS } from '../../worker/network/name-check.ts';
import { aContainerSpec } from './builders.ts';
import { type NodePlace, type NodeRooms, type OnStep, openRooms, watched } from './node-rooms.ts';

export const IMAGE = 'box:1';
export const NAME = 'web';
/** In a namespace that others have, too. */
export const LINK = 'sktplain';
const NETWORK = 'sktplain';

/** Has all that a container may have on its node, and writes a line for each time that it is run. */
export function definition(restart: RestartRule['name']): ContainerDefinition {
  return {
    container: aContainerSpec({
      image: IMAGE,
      args: ['sh', '-c', 'echo run >> /ran; exec sleep 1000'],
      stopSignal: 'SIGKILL',
      mounts: [
        {
          ...{ bind: null, volume: null, tmpfs: null },
          type: 'volume',
          source: '',
          target: '/data',
          readOnly: false,
        },
      ],
    }),
    resources: NO_RESOURCES,
    network: {
      kind: 'bridge',
      endpoints: [{ network: NETWORK, aliases: [], address: '', mac: '' }],
    },
    ports: [{ protocol: 'tcp', targetPort: 80, hostIp: '', firstHostPort: 0, lastHostPort: 0 }],
    restart: { name: restart, maximumRetryCount: 0 },
    autoRemove: false,
    stdinOnce: false,
    shown: { config: {}, hostConfig: {} },
  };
}

export interface PlainNode {
  readonly containers: PlainContainers;
  readonly rooms: NodeRooms;
  stop(): Promise<void>;
}

/**
 * Takes up what is there. @param imageTar to be loaded, and a network to be made; null = they are there
 * @param onStep also called right behind the success of each call, with ` done` behind its name
 */
export async function openPlainNode(
  place: NodePlace,
  imageTar: string | null,
  onStep: OnStep = () => {},
): Promise<PlainNode> {
  const { dir } = place;
  const rooms = await openRooms(place, imageTar);
  const { common, users } = rooms;
  const step = <T extends object>(name: string, room: T): T =>
    watched(name, room, onStep, (call) => onStep(`${call} done`));
  const local = new LocalNetworks({
    forwarding: new Ipv4Forwarding(join(dir, 'ip_forward')),
    store: new LocalNetworkStore(join(dir, 'networks'), silentLogger),
    ports: new LocalPorts(common.random, silentLogger),
    ...common,
  });
  const networks = new ContainerNetworks({
    local,
    cluster: () => null,
    forwarder: new DnsForwarder(common.clock, common.random),
    asker: new DnsAsker(common.clock, common.random, RESOLVER_TIMEOUT_MS),
    upstreamNameservers: () => [],
    ...common,
  });
  const containers = new PlainContainers({
    runtime: step('runtime', rooms.runtime),
    images: step('images', rooms.images),
    volumes: step('volumes', rooms.volumes),
    files: step('files', rooms.files),
    networks: step('networks', networks),
    driverOf: () => null,
    records: step('records', new RecordStore(join(dir, 'containers'), silentLogger)),
    settings: DEFAULT_NODE_SETTINGS,
    hostFacts,
    resolveUser: (user, lowerDirs) => users.resolve(user, lowerDirs),
    tell: () => {},
    hostname: () => 'box',
    nameservers: () => [],
    peerOf: () => null,
    onFailure: (err) => {
      throw err;
    },
    ...common,
  });
  await containers.start();
  if (imageTar !== null) {
    await local.create({
      name: NETWORK,
      labels: {},
      driver: 'bridge',
      driverOptions: { 'com.docker.network.bridge.name': LINK },
      ...{ internal: false, attachable: false, ingress: false, ipv6: false },
      ...{ configOnly: false, configFrom: '' },
      ipam: {
        driver: 'default',
        options: {},
        configs: [{ subnet: '10.213.8.0/24', range: '', gateway: '', reserved: {} }],
      },
    });
  }
  return {
    ...{ containers, rooms },
    stop: async () => {
      await containers.stop();
      await networks.stop();
      await rooms.stop();
    },
  };
}
