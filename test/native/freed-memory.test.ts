/** What the C library keeps of what this process has freed. */
import { readFileSync } from 'node:fs';
import koffi from 'koffi';
import { expect, test } from 'vitest';
import { NativeError } from '../../native/ffi/library.ts';
import { limitFreed } from '../../native/ffi/memory.ts';

const BLOCK_BYTES = 3 << 20;
/** glibc's own */
const DEFAULT_BYTES = 128 << 10;

/** Of a block that was allocated and freed: is its last byte still memory of this process? */
function isKept(): boolean {
  const block = koffi.alloc('uint8_t', BLOCK_BYTES);
  const at = koffi.address(block) + BigInt(BLOCK_BYTES - 1);
  koffi.free(block);
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .map((line) => line.split(' ', 1)[0]!.split('-'))
    .some(([from, to]) => to && BigInt(`0x${from}`) <= at && at < BigInt(`0x${to}`));
}

test('a large block that is freed goes back at once, though the library has learned to keep such', () => {
  isKept();
  expect(isKept()).toBe(true);
  limitFreed(DEFAULT_BYTES);
  expect(isKept()).toBe(false);
});

test('more than the library can be told is refused', () => {
  expect(() => limitFreed(2 ** 31)).toThrow(NativeError);
});
