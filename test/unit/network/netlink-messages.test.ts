import { describe, expect, test } from 'vitest';
import { address6Of } from '../../../common/base/ipv6.ts';
import {
  addressBytes,
  addressText,
  macOf,
  networkOf,
  overlap,
  parsePrefix,
} from '../../../native/ffi/net/address.ts';
import { attributes, MessageBatch, readAnswers } from '../../../native/ffi/net/message.ts';
import {
  addressKey,
  NftTransaction,
  numberKey,
  protocolPortKey,
} from '../../../native/ffi/net/nft.ts';
import { addNeighbour, addRemoteMac } from '../../../native/ffi/net/rtnl-neighbour.ts';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ''), 'hex');

describe('netlink messages', () => {
  test('attributes are padded to four bytes, their length is not', () => {
    const batch = new MessageBatch(8);
    batch.message(16, 0x400, 'x', () => {
      batch.attrText(3, 'ab');
      batch.nest(18, () => batch.attrU8(1, 7));
    });
    expect(batch.bytes(0)).toEqual(
      hex(`24000000 1000 0104 01000000 00000000
           0700 0300 61620000
           0c00 1280 0500 0100 07000000`),
    );
  });

  test('sequence numbers count up from the base, on every send', () => {
    const batch = new MessageBatch();
    for (let i = 0; i < 3; i++) batch.message(1, 0, 'x', () => batch.u32(i));
    const sequences = (base: number) => [8, 28, 48].map((at) => batch.bytes(base).readUInt32LE(at));
    expect(sequences(0)).toEqual([1, 2, 3]);
    expect(sequences(70)).toEqual([71, 72, 73]);
  });

  test('a forwarding entry and its neighbour', () => {
    const batch = new MessageBatch();
    addRemoteMac(batch, 5, macOf('10.0.1.12'), '172.30.0.2');
    addNeighbour(batch, 5, '10.0.1.12', macOf('10.0.1.12'));
    expect(batch.bytes(0)).toEqual(
      hex(`30000000 1c00 0105 01000000 00000000  07 00 0000 05000000 c000 02 00
             0a00 0200 02420a00010c 0000  0800 0100 ac1e0002
           30000000 1c00 0105 02000000 00000000  02 00 0000 05000000 8000 00 00
             0800 0100 0a00010c  0a00 0200 02420a00010c 0000`),
    );
  });

  test('errors are told by message, acknowledgements and older answers are not', () => {
    const error = (sequence: number, code: number): Buffer => {
      const bytes = Buffer.alloc(36);
      bytes.writeUInt32LE(36, 0);
      bytes.writeUInt16LE(2, 4);
      bytes.writeUInt32LE(sequence, 8);
      bytes.writeInt32LE(code, 16);
      return bytes;
    };
    const answers = readAnswers(Buffer.concat([error(9, -17), error(11, -2), error(12, 0)]), 10);
    expect(answers).toEqual({ messages: [], problems: [{ index: 0, errnoValue: 2, detail: '' }] });
  });

  test('a damaged attribute ends the list', () => {
    expect(attributes(hex('0800 0100 01020304 ff00 0200')).size).toBe(1);
    expect(attributes(hex('0000 0100')).size).toBe(0);
  });
});

describe('nft transactions', () => {
  test('begin with a batch header for the nftables subsystem', () => {
    const tx = new NftTransaction('t');
    expect(tx.empty).toBe(true);
    tx.addTable();
    expect(tx.bytes()).toEqual(
      hex(`14000000 1000 0100 01000000 00000000  00 00 000a
           1c000000 000a 0104 02000000 00000000  02 00 0000  0600 0100 7400 0000`),
    );
  });

  test('a thousand elements are split so that no attribute is too long', () => {
    const tx = new NftTransaction('t');
    tx.addElements(
      'm',
      Array.from({ length: 4000 }, (_, i) => ({ key: numberKey(i), data: addressKey('10.0.0.1') })),
    );
    const bytes = tx.bytes();
    let messages = 0;
    for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) messages++;
    expect(messages).toBe(1 + 8);
  });

  test('keys of concatenations pad every member', () => {
    expect(protocolPortKey(17, 8081)).toEqual(hex('11000000 1f910000'));
  });
});

describe('addresses', () => {
  test.each([
    ['10.0.0.0/8', '10.1.2.3/32', true],
    ['10.0.0.0/24', '10.0.1.0/24', false],
    ['172.18.0.0/16', '172.16.0.0/12', true],
    ['192.168.0.0/16', '0.0.0.0/0', true],
  ])('%s and %s share an address: %s', (a, b, shared) => {
    expect(overlap(parsePrefix(a), parsePrefix(b))).toBe(shared);
  });

  test.each(['10.0.0', '10.0.0.256', '1.2.3.4/33', 'a.b.c.d', '', '1.2.3.4/x'])(
    '%s is refused',
    (text) => {
      expect(() => parsePrefix(text)).toThrow(/is not an IPv4/);
    },
  );
});

describe('addresses of both families', () => {
  test('a seat has the IPv6 address that ends with its IPv4 address', () => {
    expect(address6Of('fd12:3456:789a:1::/64', '10.0.1.5')).toBe('fd12:3456:789a:1::a00:105');
    expect(address6Of('fd12:3456:789a:1::/64', '10.0.1.5')).toBe(
      addressText(addressBytes('fd12:3456:789a:1:0:0:a00:105')),
    );
  });

  test('so both have one MAC', () => {
    expect(macOf('fd00::a00:105')).toEqual(macOf('10.0.1.5'));
  });

  test.each([
    ['10.0.1.5/24', '10.0.1.0/24'],
    ['10.255.1.5/9', '10.128.0.0/9'],
    ['10.0.1.5', '10.0.1.5/32'],
    ['fd00::a00:105/64', 'fd00::/64'],
    ['fd00:ffff::1/20', 'fd00:f000::/20'],
    ['::1', '::1/128'],
    ['10.1.1.1/0', '0.0.0.0/0'],
  ])('%s is in %s', (cidr, expected) => {
    expect(networkOf(parsePrefix(cidr))).toBe(expected);
  });

  test.each(['fe80::1%eth0', 'fd00::/129', '10.0.0.0/33', 'fd00:::1', 'x/8'])(
    '%s is refused',
    (text) => expect(() => parsePrefix(text)).toThrow(/is not an IP/),
  );
});
