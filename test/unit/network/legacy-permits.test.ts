import { constants } from 'node:os';
import { beforeEach, expect, test, vi } from 'vitest';
import { errnoName, NativeError } from '../../../native/ffi/library.ts';
import { changeLegacyFilter } from '../../../native/ffi/net/legacy-filter.ts';
import { AF_INET, AF_INET6 } from '../../../native/ffi/net/rtnl-family.ts';
import { LegacyPermits } from '../../../worker/network/legacy-permits.ts';

vi.mock(import('../../../native/ffi/net/legacy-filter.ts'), async (original) => ({
  ...(await original()),
  changeLegacyFilter: vi.fn(),
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
