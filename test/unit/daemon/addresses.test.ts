import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { chooseAdvertiseAddress, parseHostPort } from '../../../daemon/addresses.ts';

describe('an address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1', 2377],
    ['192.0.2.1:4000', '192.0.2.1', 4000],
    ['eth0:5', 'eth0', 5],
    ['[::1]:80', '::1', 80],
  ])('%s has host %s and port %i', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
  });

  test.each(['', ':80', '1.2.3.4:', '1.2.3.4:0', '1.2.3.4:65536', '1.2.3.4:x', '::1'])(
    "'%s' is refused",
    (text) => {
      expect(() => parseHostPort(text)).toThrow(`invalid address '${text}': expected IP[:PORT]`);
    },
  );
});

describe('the address that others are told', () => {
  test('is the one that was asked for, without its port', () => {
    expect(chooseAdvertiseAddress('192.0.2.1', '0.0.0.0')).toBe('192.0.2.1');
    expect(chooseAdvertiseAddress('192.0.2.1:2377', '192.0.2.9')).toBe('192.0.2.1');
  });

  test('else the one that is listened on', () => {
    expect(chooseAdvertiseAddress('', '192.0.2.9')).toBe('192.0.2.9');
  });

  test('of an interface that is not there is refused', () => {
    expect(() => chooseAdvertiseAddress('nothing0', '0.0.0.0')).toThrow(
      "advertise address 'nothing0': no such interface, or it has no IPv4 address",
    );
  });

  test('else the only one of this machine, or the words on which clients print a hint', () => {
    const own = Object.entries(networkInterfaces())
      .filter(([name]) => !name.startsWith('skep'))
      .flatMap(([, entries]) => entries ?? [])
      .filter(({ family, internal, address }) => {
        return family === 'IPv4' && !internal && !address.startsWith('169.254.');
      });
    const choose = (): string => chooseAdvertiseAddress('', '0.0.0.0');
    if (own.length === 1) expect(choose()).toBe(own[0]?.address);
    else if (own.length === 0) expect(choose).toThrow("could not find the system's IP address");
    else expect(choose).toThrow('could not choose an IP address to advertise since');
  });
});
