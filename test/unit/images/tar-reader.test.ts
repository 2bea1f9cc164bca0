import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type TarEntry, TarReader } from '../../../worker/images/tar-reader.ts';
import {
  encodeTarHeader,
  type TarHeader,
  tarPadding,
  tarTrailer,
} from '../../../worker/images/tar-writer.ts';

interface ReadEntry {
  readonly entry: TarEntry;
  readonly data: Buffer;
}

function read(bytes: Buffer, chunkBytes = bytes.length): ReadEntry[] {
  const found: ReadEntry[] = [];
  let current: TarEntry | null = null;
  let data: Buffer[] = [];
  const reader = new TarReader({
    entry(entry) {
      current = entry;
      data = [];
    },
    data(part) {
      data.push(Buffer.from(part));
    },
    end() {
      found.push({ entry: current!, data: Buffer.concat(data) });
    },
  });
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    reader.push(Buffer.from(bytes.subarray(at, at + chunkBytes)));
  }
  reader.finish();
  return found;
}

function archive(...files: (TarHeader & { data?: Buffer })[]): Buffer {
  const parts = files.flatMap(({ data, ...header }) =>
    data === undefined
      ? [encodeTarHeader(header)]
      : [encodeTarHeader({ ...header, sizeBytes: data.length }), data, tarPadding(data.length)],
  );
  return Buffer.concat([...parts, tarTrailer()]);
}

/** A header block with its checksum put right after `change`. */
function patched(header: TarHeader, change: (block: Buffer) => void): Buffer {
  const block = encodeTarHeader(header);
  change(block);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

describe('tar reader', () => {
  test('reads back what the writer writes, however it is cut into chunks', () => {
    const name = fc.string({ minLength: 1, maxLength: 260, unit: 'grapheme' }).map((text) => {
      return text.replaceAll('\0', '_').replace(/\/+$/, '') || 'x';
    });
    const file = fc.record({
      name,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
      gid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
      mtimeSeconds: fc.integer({ min: 0, max: 2 ** 32 }),
      data: fc.uint8Array({ maxLength: 1500 }).map((bytes) => Buffer.from(bytes)),
    });
    fc.assert(
      fc.property(
        fc.array(file, { maxLength: 5 }),
        fc.integer({ min: 1, max: 2000 }),
        (files, chunkBytes) => {
          const bytes = archive(...files.map((f) => ({ ...f, kind: 'file' as const })));
          const found = read(bytes, chunkBytes);
          expect(found).toHaveLength(files.length);
          found.forEach(({ entry, data }, i) => {
            const { data: expected, ...header } = files[i]!;
            expect(entry).toMatchObject({ ...header, sizeBytes: expected.length, kind: 'file' });
            expect(data.equals(expected)).toBe(true);
          });
        },
      ),
      { numRuns: 200 },
    );
  });

  test('takes long names, link targets and attributes from PAX headers', () => {
    const linkName = 'l'.repeat(300);
    const value = Buffer.from([0, 10, 61, 255]); // NUL, newline, '=', not UTF-8
    const bytes = archive(
      { name: 'n'.repeat(300), kind: 'symlink', linkName },
      { name: 'plain', kind: 'file', xattrs: new Map([['user.odd', value]]) },
      { name: 'after', kind: 'file' },
    );
    const entries = read(bytes).map(({ entry }) => entry);
    expect(entries[0]).toMatchObject({ name: 'n'.repeat(300), linkName, kind: 'symlink' });
    expect(entries[1]?.xattrs.get('user.odd')).toEqual(value);
    expect(entries[2]?.xattrs.size).toBe(0);
  });

  test('takes GNU long names and base-256 numbers', () => {
    const long = Buffer.from(`${'g'.repeat(200)}\0`);
    const bytes = Buffer.concat([
      patched({ name: '././@LongLink', kind: 'file', sizeBytes: long.length }, (block) => {
        block.write('L', 156);
      }),
      long,
      tarPadding(long.length),
      patched({ name: 'short', kind: 'file' }, (block) => {
        Buffer.from('80000000ee6b2800', 'hex').copy(block, 108); // uid 4000000000
      }),
      tarTrailer(),
    ]);
    expect(read(bytes)[0]?.entry).toMatchObject({ name: 'g'.repeat(200), uid: 4_000_000_000 });
  });

  test('an archive without its trailer is accepted, a cut one is not', () => {
    const data = Buffer.from('data');
    const whole = archive({ name: 'a', kind: 'file', data });
    expect(read(whole.subarray(0, 1024))).toHaveLength(1);
    for (const length of [100, 512, 514, 700]) {
      expect(() => read(whole.subarray(0, length))).toThrow('unexpected end of input');
    }
  });

  test.each([
    ['a wrong checksum', (block: Buffer) => block.writeUInt8(1, 0)],
    ['letters in a number', (block: Buffer) => block.write('zz', 100)],
  ])('refuses %s', (_, spoil) => {
    const block = encodeTarHeader({ name: 'a', kind: 'file' });
    spoil(block);
    expect(() => read(block)).toThrow('read tar archive');
  });

  test('refuses sparse files of PAX 0.0, whose map is not in one field', () => {
    const record = (text: string): string => `${text.length + 4} ${text}\n`;
    const fields = ['GNU.sparse.size=9999', 'GNU.sparse.numblocks=1', 'GNU.sparse.offset=0000'];
    const pax = Buffer.from(fields.map(record).join(''));
    const file = { kind: 'file', mode: 0o644, mtimeSeconds: 0 } as const;
    const extended = patched({ ...file, name: 'pax', sizeBytes: pax.length }, (block) => {
      block[156] = 'x'.charCodeAt(0);
    });
    const bytes = Buffer.concat([
      ...[extended, pax, tarPadding(pax.length)],
      archive({ ...file, name: 'holes', sizeBytes: 0, data: Buffer.from('data') }),
    ]);
    expect(() => read(bytes)).toThrow('sparse file of format 0.0');
  });

  test('refuses unknown types, huge headers and sparse maps that do not fit', () => {
    const header = { name: 'a', kind: 'file' as const };
    expect(() => read(patched(header, (b) => b.write('V', 156)))).toThrow('unknown entry type "V"');
    const huge = patched({ ...header, sizeBytes: 2 ** 30 }, (block) => block.write('x', 156));
    expect(() => read(huge)).toThrow('extended header of');
    const sparse = patched({ ...header, sizeBytes: 512 }, (block) => {
      block.write('S', 156);
      block.write('00000000000\x0000000001000\0', 386, 'latin1');
      block.write('00000000400\0', 483, 'latin1'); // smaller than its segment's end
    });
    expect(() => read(sparse)).toThrow('bad sparse map');
  });
});
