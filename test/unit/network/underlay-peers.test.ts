import { describe, expect, test } from 'vitest';
import { UnderlayPeers, usablePeers } from '../../../worker/network/underlay-peers.ts';

const keyOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const [OWN, A, B] = [keyOf(1), keyOf(2), keyOf(3)];
const peers = (...entries: [string, string][]) => new Map(entries);

describe('keys that are used', () => {
  test.each([
    ['too short', Buffer.alloc(31, 2).toString('base64')],
    ['without its padding', A.slice(0, -1)],
    ['of another alphabet', keyOf(0xfb).replaceAll('+', '-').replaceAll('/', '_')],
    // The last of its characters has two bits that no byte has.
    ['with bits to spare', `${A.slice(0, -2)}J=`],
    ['with something behind it', `${A}!`],
    ["this host's own", OWN],
  ])('not one that is %s', (_, key) => {
    expect(usablePeers(peers(['10.0.0.2', key], ['10.0.0.3', B]), new Map(), OWN)).toEqual(
      peers(['10.0.0.3', B]),
    );
  });

  test('of hosts with the same one only who had it, else the first', () => {
    const told = peers(['10.0.0.2', A], ['10.0.0.3', A], ['10.0.0.4', B]);
    const others = ['10.0.0.4', B] as [string, string];
    expect(usablePeers(told, new Map(), OWN)).toEqual(peers(['10.0.0.2', A], others));
    expect(usablePeers(told, peers(['10.0.0.3', A]), OWN)).toEqual(peers(['10.0.0.3', A], others));
  });
});

describe('peers of a device', () => {
  function device(found: ReadonlyMap<string, string> = new Map()) {
    const has = new Map([...found].map(([address, key]) => [key, address]));
    const kernel = { has, fails: false, writes: 0 };
    const known = new UnderlayPeers(async (set, gone) => {
      kernel.writes++;
      if (kernel.fails) throw new Error('ENOBUFS');
      for (const key of gone) has.delete(key);
      for (const [address, key] of set) has.set(key, address);
    }, found);
    return { kernel, known };
  }

  test('are written once, and go when they are not named', async () => {
    const { kernel, known } = device(peers(['10.0.0.2', A]));
    await known.want(peers(['10.0.0.2', A], ['10.0.0.3', B]), OWN);
    expect(kernel.has).toEqual(peers([A, '10.0.0.2'], [B, '10.0.0.3']));
    await known.want(peers(['10.0.0.2', A], ['10.0.0.3', B]), OWN);
    expect(kernel.writes).toBe(1);
    await known.want(peers(['10.0.0.3', A]), OWN); // A host with another address.
    expect(kernel.has).toEqual(peers([A, '10.0.0.3']));
  });

  test('are not lost with a write that fails', async () => {
    const { kernel, known } = device();
    await known.want(peers(['10.0.0.2', A]), OWN);
    kernel.has.clear(); // the device is made anew
    kernel.fails = true;
    await expect(known.rewrite()).rejects.toThrow('ENOBUFS');
    expect(known.wanted).toEqual(peers(['10.0.0.2', A]));
    kernel.fails = false;
    await known.want(peers(['10.0.0.2', A]), OWN);
    expect(kernel.has).toEqual(peers([A, '10.0.0.2']));
  });

  test('what a write that failed may have left goes with the next', async () => {
    const { kernel, known } = device();
    kernel.fails = true;
    await expect(known.want(peers(['10.0.0.2', A]), OWN)).rejects.toThrow('ENOBUFS');
    kernel.has.set(A, '10.0.0.2');
    kernel.fails = false;
    await known.want(peers(['10.0.0.3', B]), OWN);
    expect(kernel.has).toEqual(peers([B, '10.0.0.3']));
  });
});
