import { constants } from 'node:os';
import { beforeEach, expect, test, vi } from 'vitest';
import { errnoName, NativeError } from '../../../native/ffi/library.ts';
import {
  changeLegacyFilter,
  checkTableSize,
  LEGACY_TABLE_BYTES_MAX,
  readLegacyFilter,
} from '../../../native/ffi/net/legacy-filter.ts';
import { AF_INET, AF_INET6 } from '../../../native/ffi/net/rtnl-family.ts';
import { LegacyPermits } from '../../../worker/network/legacy-permits.ts';

vi.mock(import('../../../native/ffi/net/legacy-filter.ts'), async (original) => ({
  ...(await original()),
  changeLegacyFilter: vi.fn(),
  readLegacyFilter: vi.fn(),
}));

let changed: number[];
let errno: string;
beforeEach(() => {
  changed = [];
  vi.mocked(changeLegacyFilter).mockImplementation(async (family) => {
    if (family === AF_INET) throw new NativeError(errno, 'flock', '/run/xtables.lock');
    changed.push(family);
  });
});
const permits = new LegacyPermits(() => ['skep_gw']);

test('a table that somebody else does not let go of keeps nobody from leaving', async () => {
  errno = errnoName(constants.errno.EWOULDBLOCK); // of flock(2)
  await permits.remove();
  expect(changed).toEqual([AF_INET6]);
});

test('another failure is told', async () => {
  errno = 'EPERM';
  await expect(permits.remove()).rejects.toThrow('EPERM');
});

test('a table larger than what is read of one is told of, and keeps nobody from leaving', async () => {
  checkTableSize(LEGACY_TABLE_BYTES_MAX);
  const tooLarge = async (family: number) => {
    if (family === AF_INET) checkTableSize(LEGACY_TABLE_BYTES_MAX + 1);
    return null;
  };
  vi.mocked(readLegacyFilter).mockImplementation(tooLarge);
  expect(await permits.differences(['skep_gw'])).toEqual([
    {
      what: 'permits in chain FORWARD of iptables-legacy',
      wanted: 'there',
      found:
        'table filter of iptables-legacy has 33554433 bytes, of which 33554432 are read at most',
    },
  ]);
  vi.mocked(changeLegacyFilter).mockImplementation(async (family) => void (await tooLarge(family)));
  await permits.remove();
});
