import { describe, expect, test } from 'vitest';
import {
  type AddressFlags,
  addressesAtStart,
  chooseAddresses,
} from '../../../daemon/node-addresses.ts';

const flags = (listenAddress: string, advertiseAddress: string): AddressFlags => ({
  listenAddress,
  advertiseAddress,
});
const NONE = flags('', '');
const asked = (listenAddress: string, advertiseAddress: string, dataPathAddress = '') => ({
  ...flags(listenAddress, advertiseAddress),
  dataPathAddress,
});

describe('the addresses of a node that enters a cluster', () => {
  test('are those that are asked for, else those of the flags', () => {
    const given = flags('192.0.2.1:2400', '192.0.2.2');
    expect(chooseAddresses(asked('0.0.0.0:2377', ''), given, ['192.0.2.9:2377'])).toEqual({
      listen: '192.0.2.1:2400',
      advertise: '192.0.2.2:2400',
      dataPath: '',
      managers: ['192.0.2.9:2377'],
      flags: given,
    });
    expect(chooseAddresses(asked('192.0.2.5', '192.0.2.6'), given, [])).toMatchObject({
      listen: '192.0.2.5:2377',
      advertise: '192.0.2.6:2377',
    });
  });

  test('have another one for traffic between tasks, by address or interface', () => {
    const { advertise, dataPath } = chooseAddresses(
      asked('', '192.0.2.6', '198.51.100.6'),
      NONE,
      [],
    );
    expect([advertise, dataPath]).toEqual(['192.0.2.6:2377', '198.51.100.6']);
    expect(() => chooseAddresses(asked('', '192.0.2.6', 'eth77'), NONE, [])).toThrow(
      "data path address 'eth77': no such interface",
    );
  });
});

describe('the addresses of a node that starts again', () => {
  const ASKED = chooseAddresses(asked('', '192.0.2.7'), flags('', '192.0.2.1'), []);
  const LISTENING = chooseAddresses(asked('', ''), flags('192.0.2.1', ''), []);

  test.each([
    // An address asked for at `init` outlives restarts with the flag of that time.
    ['the same flags', ASKED, flags('', '192.0.2.1'), '0.0.0.0:2377', '192.0.2.7:2377'],
    ['no flags any more', ASKED, NONE, '0.0.0.0:2377', '192.0.2.7:2377'],
    ['another address', ASKED, flags('', '192.0.2.3'), '0.0.0.0:2377', '192.0.2.3:2377'],
    ['another port', ASKED, flags('0.0.0.0:2400', ''), '0.0.0.0:2400', '192.0.2.7:2400'],
    ['another place', LISTENING, flags('192.0.2.4', ''), '192.0.2.4:2377', '192.0.2.4:2377'],
    ['two other ones', LISTENING, flags('192.0.2.4:1', '192.0.2.5'), '192.0.2.4:1', '192.0.2.5:1'],
  ])('with %s', (_, kept, now, listen, advertise) => {
    const found = addressesAtStart(kept, now);
    expect(found).toEqual({ listen, advertise, dataPath: '', managers: [], flags: now });
    expect(addressesAtStart(found, now)).toBe(found);
  });
});
