import { expect, test, vi } from 'vitest';
import { bytesPassed } from '../../../common/base/young-collection.ts';

const MIB = 1024 * 1024;

const outside = (): number => process.memoryUsage().arrayBuffers;

test('arrays that are done with are gone when 4 MiB have passed, and not before', async () => {
  const before = outside();
  for (let i = 0; i < 63; i++) {
    Buffer.allocUnsafeSlow(MIB / 4);
    bytesPassed(MIB / 16);
  }
  expect(outside() - before).toBeGreaterThan(8 * MIB);
  bytesPassed(MIB / 16);
  // They are swept by another thread.
  await vi.waitFor(() => expect(outside() - before).toBeLessThan(4 * MIB));
});
