import { describe, expect, test } from 'vitest';
import { MessageBatch } from '../../../native/ffi/net/message.ts';
import { peerMessages, readDevice, setDeviceMessage } from '../../../native/ffi/net/wireguard.ts';
import { encryptedMtu, encryptedPort, overlayMtu } from '../../../worker/network/kernel-names.ts';

const FAMILY = 29;
const KEY = Buffer.alloc(32, 0xab);
const OTHER = Buffer.alloc(32, 0xcd);
const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ''), 'hex');
const payloadOf = (batch: MessageBatch): Buffer => batch.bytes(0).subarray(16);

describe("WireGuard's messages", () => {
  test('a device: key, port, and no peers of before', () => {
    expect(payloadOf(setDeviceMessage(FAMILY, 'wg', KEY, 4790))).toEqual(
      hex(`01 01 0000  0700 0200 77670000  2400 0300 ${'ab'.repeat(32)}
           0600 0600 b612 0000  0800 0500 01000000`),
    );
  });

  test('a peer has one address inside, which is where it is outside', () => {
    const peer = { publicKey: KEY, address: '172.30.0.2', port: 4790 };
    const [batch] = peerMessages(FAMILY, 'wg', [peer], []);
    expect(payloadOf(batch as MessageBatch)).toEqual(
      hex(`01 01 0000  0700 0200 77670000
           6800 0880  6400 0080
             2400 0100 ${'ab'.repeat(32)}  0800 0300 02000000
             1400 0400 0200 12b6 ac1e0002 0000000000000000
             2000 0980  1c00 0080  0600 0100 0200 0000  0800 0200 ac1e0002  0500 0300 20 000000`),
    );
  });

  test('who goes is removed before others come', () => {
    const peer = { publicKey: KEY, address: 'fd00::2', port: 4790 };
    const bytes = payloadOf(peerMessages(FAMILY, 'wg', [peer], [OTHER])[0] as MessageBatch);
    expect(bytes.indexOf(OTHER)).toBeGreaterThan(0);
    expect(bytes.indexOf(OTHER)).toBeLessThan(bytes.indexOf(KEY));
    expect(
      bytes.includes(hex('0a00 12b6 00000000 fd000000000000000000000000000002 00000000')),
    ).toBe(true);
  });

  test('many peers go in several messages, none when nothing is to be said', () => {
    const peers = Array.from({ length: 700 }, (_, i) => {
      const publicKey = Buffer.alloc(32);
      publicKey.writeUInt32BE(i);
      return { publicKey, address: `10.1.${i >> 8}.${i & 255}`, port: 4790 };
    });
    expect(peerMessages(FAMILY, 'wg', peers, [])).toHaveLength(3);
    expect(peerMessages(FAMILY, 'wg', [], [])).toEqual([]);
  });

  test('a device is read out of several messages', () => {
    const answer = (fill: (batch: MessageBatch) => void) => ({
      type: FAMILY,
      index: 0,
      payload: Buffer.concat([Buffer.alloc(4), MessageBatch.attributesOf(fill)]),
    });
    const peers = (batch: MessageBatch, key: Buffer, address: Buffer) =>
      batch.nest(8, () =>
        batch.nest(0, () => {
          batch.attrBytes(1, key);
          batch.nest(9, () =>
            batch.nest(0, () => {
              batch.attrBytes(2, address);
              batch.attrU8(3, 32);
            }),
          );
        }),
      );
    const device = readDevice([
      answer((batch) => {
        batch.attrBytes(3, KEY);
        batch.attrBytes(4, OTHER);
        batch.attrU16(6, 4790);
        peers(batch, OTHER, Buffer.from([10, 0, 0, 1]));
      }),
      answer((batch) => peers(batch, KEY, Buffer.from([10, 0, 0, 2]))),
    ]);
    expect(device).toEqual({
      privateKey: KEY,
      publicKey: OTHER,
      listenPort: 4790,
      peers: [
        { publicKey: OTHER, allowed: ['10.0.0.1/32'] },
        { publicKey: KEY, allowed: ['10.0.0.2/32'] },
      ],
    });
  });
});

describe('room in packets', () => {
  test.each([
    [{ mtu: 0, encrypted: false }, '172.30.0.1', 1450],
    [{ mtu: 0, encrypted: true }, '172.30.0.1', 1390],
    [{ mtu: 0, encrypted: false }, 'fd00::1', 1430],
    [{ mtu: 0, encrypted: true }, 'fd00::1', 1350],
    [{ mtu: 1300, encrypted: true }, '172.30.0.1', 1300],
  ])('%j from %s: %i bytes', (network, host, expected) => {
    expect(overlayMtu({ ...network, subnet6: '' }, 1500, host)).toBe(expected);
  });

  test('a network with IPv6 has as much as IPv6 needs, however little the hosts carry', () => {
    const network = { mtu: 0, encrypted: true, subnet6: 'fd00:5::/64' };
    expect(overlayMtu(network, 1360, '172.30.0.1')).toBe(1280);
    expect(overlayMtu({ ...network, subnet6: '' }, 1360, '172.30.0.1')).toBe(1250);
    expect(overlayMtu(network, 9000, '172.30.0.1')).toBe(8890);
    expect(encryptedMtu(1300, 'fd00::1')).toBe(1280); // its link has an address of IPv6
    expect(encryptedMtu(1300, '172.30.0.1')).toBe(1240);
  });

  test("WireGuard's link has what its headers leave, its port is VXLAN's next", () => {
    expect(encryptedMtu(1500, '10.0.0.1')).toBe(1440);
    expect(encryptedPort({ dataPathPort: 0 })).toBe(4790);
    expect(encryptedPort({ dataPathPort: 7000 })).toBe(7001);
  });
});
