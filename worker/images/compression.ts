/** Recognises compressed streams by their first bytes; media types and file names lie too often. */

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** Bytes that `compressionOf` wants to see, if there are so many. */
export const MAGIC_BYTES = 6;

export function compressionOf(start: Uint8Array): Compression {
  for (const [name, magic] of MAGICS) {
    if (magic.every((byte, i) => start[i] === byte)) return name;
  }
  return 'none';
}
