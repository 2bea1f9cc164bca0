import { expect, test } from 'vitest';
import type { NetworkId, ServiceId } from '../../../common/model/ids.ts';
import { KeptAddresses } from '../../../manager/allocator/kept-addresses.ts';
import { aService, aServiceSpec, aTaskSpec, idOf } from '../../support/builders.ts';

const NETWORK = idOf<NetworkId>('back');

function naming(name: string, ...addresses: string[]) {
  const networks = [{ target: NETWORK, aliases: [], addresses, driverOptions: {} }];
  const spec = aServiceSpec({ task: aTaskSpec({ networks }) });
  return aService({ id: idOf<ServiceId>(name), spec });
}

test('something is free only when an address is not named any more', () => {
  const kept = new KeptAddresses();
  expect(kept.put(naming('a', '10.0.1.7'))).toBe(false);
  expect(kept.put(naming('a', '10.0.1.7'))).toBe(false);
  expect(kept.put(naming('a', '10.0.1.7', '10.0.1.8'))).toBe(false);
  expect(kept.put(naming('a', '10.0.1.8'))).toBe(true);
  expect(kept.put(naming('a'))).toBe(true);
  expect(kept.put(naming('a'))).toBe(false);
  expect(kept.of(NETWORK).size).toBe(0);
});

test('an address that two services name is kept until neither does', () => {
  const kept = new KeptAddresses();
  kept.put(naming('a', '10.0.1.7'));
  kept.put(naming('b', '10.0.1.7'));
  kept.put(naming('a'));
  expect(kept.of(NETWORK).size).toBe(1);
  kept.remove(idOf<ServiceId>('b'));
  expect(kept.of(NETWORK).size).toBe(0);
});
