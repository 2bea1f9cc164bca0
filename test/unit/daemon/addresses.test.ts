import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  chooseAdvertiseAddress,
  parseHostPort,
  requireKnownHosts,
} from '../../../daemon/addresses.ts';
import { FakeClock } from '../../support/fake-clock.ts';

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

describe('the hosts to join', () => {
  const refused = async (): Promise<unknown> => {
    throw Object.assign(new Error('getaddrinfo ENOTFOUND nosuch'), { code: 'ENOTFOUND' });
  };

  test('that are addresses are not looked up', async () => {
    await requireKnownHosts(['192.0.2.1:2377', '[2001:db8::1]:2377'], new FakeClock(), refused);
  });

  test('are refused when no name of them is known, with the name and the reason', async () => {
    await expect(
      requireKnownHosts(['nosuch:2377', 'nor-this:2377'], new FakeClock(), refused),
    ).rejects.toMatchObject({
      code: 'unavailable',
      message: 'join cluster via nosuch:2377: the name nosuch cannot be resolved: ENOTFOUND',
    });
  });

  test('do when one of them is known', async () => {
    await requireKnownHosts(['nosuch:2377', '192.0.2.1:2377'], new FakeClock(), refused);
  });

  test('are not waited for longer than 3 s, and leave no timer', async () => {
    const clock = new FakeClock();
    const never = (): Promise<unknown> => new Promise(() => {});
    const waiting = requireKnownHosts(['nosuch:2377'], clock, never);
    const refusal = expect(waiting).rejects.toThrow('no answer from the resolver within 3000 ms');
    await clock.advance(3_000);
    await refusal;
    await requireKnownHosts(['known:2377'], clock, async () => {});
    expect(clock.pending).toBe(0);
  });
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
