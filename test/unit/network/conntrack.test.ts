import { expect, test } from 'vitest';
import { addressBytes } from '../../../native/ffi/net/address.ts';
import { answeredBy, endedAmong } from '../../../native/ffi/net/conntrack.ts';
import { MessageBatch, type NetlinkMessage } from '../../../native/ffi/net/message.ts';

const CLIENT = '10.0.1.9';
const VIRTUAL_IP = '10.0.1.2';
const TCP = 6;
const UDP = 17;

/** CTA_TUPLE_ORIG or CTA_TUPLE_REPLY: addresses (CTA_TUPLE_IP) and protocol (CTA_TUPLE_PROTO). */
function tuple(batch: MessageBatch, type: number, ends: [string, string], protocol: number): void {
  batch.nest(type, () => {
    batch.nest(1, () => {
      for (const [i, address] of ends.entries()) batch.attrBytes(1 + i, addressBytes(address));
    });
    batch.nest(2, () => batch.attrU8(1, protocol));
  });
}

/** A connection of `protocol` from the client to the virtual IP, translated to `backend`. */
function entry(id: number, backend: string, protocol: number): NetlinkMessage {
  const fields = MessageBatch.attributesOf((batch) => {
    tuple(batch, 1, [CLIENT, VIRTUAL_IP], protocol);
    tuple(batch, 2, [backend, CLIENT], protocol);
    batch.attrBe32(12, id);
  });
  return { type: 0x100, index: 0, payload: Buffer.concat([Buffer.alloc(4), fields]) };
}

test('of connections answered by an address all are found, or those of UDP', () => {
  const dump = [entry(1, '10.0.1.11', UDP), entry(2, '10.0.1.11', TCP), entry(3, '10.0.1.12', UDP)];
  const found = (which: 'all' | 'udp') =>
    endedAmong(dump, answeredBy(new Set(['10.0.1.11']), which)).map(({ id }) => id.readUInt32BE());
  expect(found('all')).toEqual([1, 2]);
  expect(found('udp')).toEqual([1]);
});
