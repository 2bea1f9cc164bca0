/** Builds tar headers (ustar, with PAX where ustar is too small). Pure bytes; the other way round of tar-reader. */
import type { TarEntryKind } from './tar-reader.ts';

const BLOCK_BYTES = 512;

export interface TarHeader {
  readonly name: string;
  readonly kind: TarEntryKind;
  /** default '' */
  readonly linkName?: string;
  /** default 0o644, directories 0o755 */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** whole seconds, default 0 */
  readonly mtimeSeconds?: number;
  /** bytes of data that follow; default 0 */
  readonly sizeBytes?: number;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  readonly xattrs?: ReadonlyMap<string, Buffer>;
}

const TYPE_FLAGS: Readonly<Record<TarEntryKind, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};

const USTAR_SIZE_MAX = 8 ** 11 - 1;
const USTAR_ID_MAX = 8 ** 7 - 1;

/** The header blocks of one entry: a PAX header first when a field needs it. */
export function encodeTarHeader(header: TarHeader): Buffer {
  const pax: Buffer[] = [];
  const linkName = header.linkName ?? '';
  if (Buffer.byteLength(header.name) > 100) pax.push(paxRecord('path', Buffer.from(header.name)));
  if (Buffer.byteLength(linkName) > 100) pax.push(paxRecord('linkpath', Buffer.from(linkName)));
  const numbers: [string, number, number][] = [
    ['size', header.sizeBytes ?? 0, USTAR_SIZE_MAX],
    ['uid', header.uid ?? 0, USTAR_ID_MAX],
    ['gid', header.gid ?? 0, USTAR_ID_MAX],
  ];
  for (const [key, value, max] of numbers) {
    if (value > max) pax.push(paxRecord(key, Buffer.from(String(value))));
  }
  for (const [key, value] of header.xattrs ?? []) pax.push(paxRecord(`SCHILY.xattr.${key}`, value));
  const own = ustarBlock(header, TYPE_FLAGS[header.kind]);
  if (pax.length === 0) return own;
  const body = Buffer.concat(pax);
  const extended = ustarBlock(
    { name: 'PaxHeaders/entry', kind: 'file', sizeBytes: body.length },
    'x',
  );
  return Buffer.concat([extended, body, tarPadding(body.length), own]);
}

/** Zeros up to the next block after `sizeBytes` of data. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** The two zero blocks that end an archive. */
export function tarTrailer(): Buffer {
  return Buffer.alloc(2 * BLOCK_BYTES);
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length; // the length counts its own digits
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function ustarBlock(header: TarHeader, type: string): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(truncated(header.name), 0, 100);
  octal(block, 100, 8, header.mode ?? (header.kind === 'directory' ? 0o755 : 0o644));
  octal(block, 108, 8, Math.min(header.uid ?? 0, USTAR_ID_MAX));
  octal(block, 116, 8, Math.min(header.gid ?? 0, USTAR_ID_MAX));
  octal(block, 124, 12, Math.min(header.sizeBytes ?? 0, USTAR_SIZE_MAX));
  octal(block, 136, 12, Math.max(0, Math.floor(header.mtimeSeconds ?? 0)));
  block.write(type, 156, 'latin1');
  block.write(truncated(header.linkName ?? ''), 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(block, 329, 8, header.deviceMajor ?? 0);
  octal(block, 337, 8, header.deviceMinor ?? 0);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function truncated(name: string): string {
  const bytes = Buffer.from(name);
  return bytes.length <= 100 ? name : bytes.subarray(0, 100).toString('latin1');
}

function octal(block: Buffer, at: number, lengthBytes: number, value: number): void {
  block.write(value.toString(8).padStart(lengthBytes - 1, '0'), at, 'latin1');
}
