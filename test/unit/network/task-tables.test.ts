import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { MessageBatch } from '../../../native/ffi/net/message.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { TaskTables } from '../../../worker/network/task-tables.ts';

const NFPROTO_IPV6 = 10;

/** Families of the tables that were written to, and the bytes. */
class Wire {
  readonly sent: Buffer[] = [];
  readonly socket = {
    transact: async (batch: MessageBatch) => {
      this.sent.push(Buffer.from(batch.bytes(0)));
      return [];
    },
  } as unknown as NetlinkSocket;

  ofIpv6(): Buffer {
    // The second message of a transaction is the first that names a family.
    return Buffer.concat(this.sent.filter((bytes) => bytes[20 + 16] === NFPROTO_IPV6));
  }
}

const BACKENDS = new Set(['10.0.1.5', '10.0.1.6']);

async function written(subnets: Parameters<TaskTables['setDual']>[0]): Promise<Wire> {
  const wire = new Wire();
  const tables = new TaskTables(wire.socket, new SeededRandom(1));
  tables.setDual(subnets);
  await tables.set(
    new Map([
      ['10.0.1.2', BACKENDS],
      ['10.0.2.2', BACKENDS],
    ]),
  );
  await tables.rebuild();
  return wire;
}

describe("rules of a task's namespace", () => {
  test('without a network of both families there is no table of IPv6', async () => {
    expect((await written([])).ofIpv6()).toHaveLength(0);
  });

  test('virtual IPs and backends of a network of both have their addresses of IPv6', async () => {
    const bytes = (await written([{ subnet: '10.0.1.0/24', subnet6: 'fd01::/64' }])).ofIpv6();
    for (const last of ['0a000102', '0a000105', '0a000106']) {
      expect(bytes.includes(Buffer.from(`fd01000000000000000000000${last.slice(1)}`, 'hex'))).toBe(
        true,
      );
    }
    expect(bytes.includes(Buffer.from('0a000202', 'hex'))).toBe(false);
  });

  test('tells when its networks are others', () => {
    const tables = new TaskTables(new Wire().socket, new SeededRandom(1));
    const dual = [{ subnet: '10.0.1.0/24', subnet6: 'fd01::/64' }];
    expect(tables.setDual([])).toBe(false);
    expect(tables.setDual(dual)).toBe(true);
    expect(tables.setDual([...dual])).toBe(false);
    expect(tables.ipv6Of('10.0.1.9')).toBe('fd01::a00:109');
    expect(tables.ipv6Of('10.0.2.9')).toBeNull();
  });
});
