import { expect, test } from 'vitest';
import type { Logger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  ContainerNetworks,
  type ContainerNetworksOptions,
  type NetworkedContainer,
} from '../../../worker/network/container-networks.ts';
import type { ContainerPlace } from '../../../worker/network/container-place.ts';

const aContainer = (name: string): NetworkedContainer => ({
  ...{ id: name.padEnd(64, '0'), name, hostname: name, netnsPath: '/nowhere', nameservers: [] },
});
const place: ContainerPlace = {
  seats: [
    {
      ...{ networkId: 'front', name: 'front', link: 'eth0', address: '10.9.0.2', mac: '' },
      ...{ prefixLength: 24, gateway: '10.9.0.1', aliases: [] },
    },
  ],
  ports: [],
};

/** Two containers from before this daemon; `during` is what happens while the kernel is looked at. */
function started(during: (networks: ContainerNetworks) => Promise<void>) {
  const unopened: string[] = [];
  const networks: ContainerNetworks = new ContainerNetworks({
    local: {
      start: () => during(networks),
      detach: async () => {},
      disconnect: async () => {},
      portsOf: () => [],
    },
    cluster: () => null,
    random: new SeededRandom(1),
    log: { error: ({ containerId }: { containerId: string }) => unopened.push(containerId) },
  } as unknown as ContainerNetworksOptions & { log: Logger });
  const running = ['a', 'b'].map((name) => ({ container: aContainer(name), place }));
  return { networks, unopened, start: networks.start(running) };
}

// Their namespace is nowhere: each resolver that somebody tries to open is told of.
test('a container that ends while a daemon starts is let go of', async () => {
  const { unopened, start } = started((it) => it.detach(aContainer('a').id));
  await start;
  expect(unopened).toEqual([aContainer('b').id]);
});

test('one that is taken out of a network meanwhile was in it', async () => {
  const { start } = started(async (it) => {
    expect(await it.disconnect(aContainer('a').id, 'front')).toEqual({ seats: [], ports: [] });
  });
  await start;
});

test('resolvers are opened though the kernel could not be looked at', async () => {
  const { unopened, start } = started(async () => {
    throw new Error('EBUSY');
  });
  await expect(start).rejects.toThrow('EBUSY');
  expect(unopened).toHaveLength(2);
});
