import { describe, expect, test } from 'vitest';
import { parseHostIp, publishedKey, sharesPort } from '../../../common/model/host-ip.ts';

const at = (hostIp: string, publishedPort = 80, protocol: 'tcp' | 'udp' = 'tcp') => {
  return { protocol, publishedPort, hostIp };
};

describe('the address of a published port', () => {
  test.each([
    ['', ''],
    ['0.0.0.0', ''],
    ['::', ''],
    ['[::]', ''],
    ['10.0.0.5', '10.0.0.5'],
    ['127.0.0.1', '127.0.0.1'],
    ['[::1]', '::1'],
    ['FD00:0::0:5', 'fd00::5'],
  ])('%j is kept as %j', (text, kept) => {
    expect(parseHostIp(text)).toBe(kept);
    expect(parseHostIp(kept)).toBe(kept);
  });

  test.each(['web', '10.0.0', '10.0.0.5/24', '010.0.0.5', 'fe80::1%eth0', '[10.0.0.5', '10'])(
    '%j is none',
    (text) => {
      expect(() => parseHostIp(text)).toThrow(`'${text}' is no IP address`);
    },
  );

  test.each(['::ffff:10.0.0.5', '224.0.0.1', 'ff02::1', '255.255.255.255'])(
    '%j is none that a host has',
    (text) => {
      expect(() => parseHostIp(text)).toThrow('address of a published port');
    },
  );

  test('tells ports apart, but from one of every address', () => {
    expect(sharesPort(at('10.0.0.5'), at('10.0.0.6'))).toBe(false);
    expect(sharesPort(at('10.0.0.5'), at('10.0.0.5'))).toBe(true);
    expect(sharesPort(at('10.0.0.5'), at(''))).toBe(true);
    expect(sharesPort(at(''), at('fd00::5'))).toBe(true);
    expect(sharesPort(at(''), at('', 81))).toBe(false);
    expect(sharesPort(at(''), at('', 80, 'udp'))).toBe(false);
    expect([at(''), at('10.0.0.5')].map(publishedKey)).toEqual(['tcp/80', 'tcp/80/10.0.0.5']);
  });
});
