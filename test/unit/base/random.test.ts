import { expect, test } from 'vitest';
import { SystemRandom } from '../../../common/base/random.ts';

test("the system's bytes are as many as were asked for, and given once", () => {
  const random = new SystemRandom();
  const seen = new Set<string>();
  const kept: [Uint8Array, string][] = [];
  for (let i = 0; i < 500; i++) {
    const length = [16, 32, 64, 65, 200][i % 5]!;
    const bytes = random.bytes(length);
    expect(bytes).toHaveLength(length);
    for (let at = 0; at + 16 <= length; at += 16) {
      seen.add(Buffer.from(bytes.subarray(at, at + 16)).toString('hex'));
    }
    kept.push([bytes, Buffer.from(bytes).toString('hex')]);
  }
  expect(seen.size).toBe(100 * (1 + 2 + 4 + 4 + 12));
  for (const [bytes, text] of kept) expect(Buffer.from(bytes).toString('hex')).toBe(text);
});

test("what the system gives is its caller's own", () => {
  const random = new SystemRandom();
  const [first, second] = [random.bytes(32), random.bytes(32)];
  expect(first.buffer.byteLength).toBe(32);
  first.fill(0);
  expect(second.some((byte) => byte !== 0)).toBe(true);
});
