/**
 * Reads tar streams (ustar, PAX, GNU long names, both kinds of sparse files) block by block. Push
 * parser without streams per entry: 40,000 files pass through it in a second. Knows nothing of
 * images; writes nothing.
 */
import { SkepError } from '../../common/base/errors.ts';

const BLOCK_BYTES = 512;
/** PAX headers, GNU long names and sparse maps are held in memory: more is an attack. */
const META_BYTES_MAX = 1024 * 1024;

export type TarEntryKind =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'hardlink'
  | 'character-device'
  | 'block-device'
  | 'fifo';

/** `lengthBytes` of data at `offset` of the file; the rest of a sparse file is a hole. */
export interface SparseSegment {
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface TarEntry {
  /** as written: may be absolute, contain `..`, end in a slash */
  readonly name: string;
  readonly kind: TarEntryKind;
  /** target of symlinks and hard links; '' otherwise */
  readonly linkName: string;
  /** permission bits with setuid, setgid, sticky: 0..0o7777 */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** seconds since 1970, with fraction when a PAX header has it */
  readonly mtimeSeconds: number;
  /** size of the file once written; 0 when it is not a regular file */
  readonly sizeBytes: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** extended attributes of the PAX header (`SCHILY.xattr.*`) */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** null = not sparse: the data are the whole file */
  readonly sparse: readonly SparseSegment[] | null;
}

/** Told of each entry in order: `entry`, `data` zero or more times, `end`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** The bytes belong to the caller again when this returns. */
  data(bytes: Buffer): void;
  end(): void;
}

type Pax = Map<string, Buffer>;

interface MutableEntry extends TarEntry {
  sizeBytes: number;
  sparse: SparseSegment[] | null;
}

/** What the bytes after the current header are for. */
type State =
  | 'header'
  | 'data'
  | 'padding'
  | 'meta' // a PAX header or a GNU long name, collected in memory
  | 'sparse-extension' // old GNU: further blocks of the map
  | 'sparse-map' // PAX 1.0: the map leads the data
  | 'ended'; // two zero blocks were seen: whatever follows is ignored

function damaged(what: string): SkepError {
  return new SkepError('invalid-argument', `read tar archive: ${what}`);
}

/** Feed with `push`, close with `finish`. Throws `invalid-argument` on anything malformed. */
export class TarReader {
  readonly #sink: TarSink;
  #state: State = 'header';
  #held: Buffer = Buffer.alloc(0); // an incomplete block
  #left = 0; // bytes left of data, meta or padding
  #paddingBytes = 0;
  #metaType = '';
  #metaParts: Buffer[] = [];
  #entry: MutableEntry | null = null;
  #globalPax: Pax = new Map();
  #pax: Pax | null = null;
  #longName: string | null = null;
  #longLink: string | null = null;
  #zeroBlocks = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** True once the end-of-archive blocks were seen. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    if (this.#held.length > 0) {
      rest = Buffer.concat([this.#held, chunk]);
      this.#held = Buffer.alloc(0);
    }
    while (rest.length > 0 && this.#state !== 'ended') {
      const used = this.#consume(rest);
      if (used === 0) {
        this.#held = Buffer.from(rest); // our own copy: the caller may reuse its chunk
        return;
      }
      rest = rest.subarray(used);
    }
  }

  /** The input is over. Throws when it stopped inside an entry or held no tar header at all. */
  finish(): void {
    if (this.#state === 'ended') return;
    if (this.#state !== 'header' || this.#held.length > 0) throw damaged('unexpected end of input');
    if (this.#pax !== null || this.#longName !== null) throw damaged('unexpected end of input');
  }

  /** Bytes taken from the front of `bytes`; 0 = more input is needed. */
  #consume(bytes: Buffer): number {
    switch (this.#state) {
      case 'header':
        if (bytes.length < BLOCK_BYTES) return 0;
        this.#header(bytes.subarray(0, BLOCK_BYTES));
        return BLOCK_BYTES;
      case 'data':
        return this.#data(bytes);
      case 'padding': {
        const used = Math.min(this.#left, bytes.length);
        this.#left -= used;
        if (this.#left === 0) this.#state = 'header';
        return used;
      }
      case 'meta': {
        const used = Math.min(this.#left, bytes.length);
        this.#metaParts.push(Buffer.from(bytes.subarray(0, used)));
        this.#left -= used;
        if (this.#left === 0) this.#endMeta();
        return used;
      }
      case 'sparse-extension':
        if (bytes.length < BLOCK_BYTES) return 0;
        this.#sparseExtension(bytes.subarray(0, BLOCK_BYTES));
        return BLOCK_BYTES;
      case 'sparse-map':
        return this.#sparseMap(bytes);
      case 'ended':
        return bytes.length;
    }
  }

  #data(bytes: Buffer): number {
    const used = Math.min(this.#left, bytes.length);
    if (used > 0) this.#sink.data(used === bytes.length ? bytes : bytes.subarray(0, used));
    this.#left -= used;
    if (this.#left === 0) this.#endEntry();
    return used;
  }

  #endEntry(): void {
    this.#sink.end();
    this.#entry = null;
    this.#skipPadding();
  }

  #skipPadding(): void {
    this.#left = this.#paddingBytes;
    this.#state = this.#left > 0 ? 'padding' : 'header';
  }

  #header(block: Buffer): void {
    if (isZero(block)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'ended';
      return;
    }
    this.#zeroBlocks = 0;
    verifyChecksum(block);
    const type = String.fromCharCode(block[156]!);
    const sizeBytes = number(block, 124, 12);
    if ('xgLK'.includes(type)) {
      this.#startMeta(type, sizeBytes);
      return;
    }
    this.#startEntry(block, type, sizeBytes);
  }

  #startMeta(type: string, sizeBytes: number): void {
    if (sizeBytes > META_BYTES_MAX) {
      throw damaged(`extended header of ${sizeBytes} bytes is above ${META_BYTES_MAX}`);
    }
    this.#metaType = type;
    this.#metaParts = [];
    this.#left = sizeBytes;
    this.#paddingBytes = padding(sizeBytes);
    this.#state = 'meta';
    if (sizeBytes === 0) this.#endMeta();
  }

  #endMeta(): void {
    const bytes = Buffer.concat(this.#metaParts);
    this.#metaParts = [];
    if (this.#metaType === 'x') this.#pax = parsePax(bytes);
    else if (this.#metaType === 'g') this.#globalPax = parsePax(bytes, this.#globalPax);
    else if (this.#metaType === 'L') this.#longName = text(bytes, 0, bytes.length);
    else this.#longLink = text(bytes, 0, bytes.length);
    this.#skipPadding();
  }

  #startEntry(block: Buffer, type: string, headerSizeBytes: number): void {
    const pax = new PaxFields(this.#globalPax, this.#pax);
    const storedBytes = pax.number('size') ?? headerSizeBytes;
    const kind = kindOf(type, block);
    const hasData = kind === 'file';
    const entry: MutableEntry = {
      name:
        pax.text('GNU.sparse.name') ?? pax.text('path') ?? this.#longName ?? ustarName(block, type),
      kind,
      linkName: pax.text('linkpath') ?? this.#longLink ?? text(block, 157, 100),
      mode: number(block, 100, 8) & 0o7777,
      uid: pax.number('uid') ?? number(block, 108, 8),
      gid: pax.number('gid') ?? number(block, 116, 8),
      mtimeSeconds: pax.number('mtime') ?? number(block, 136, 12),
      sizeBytes: hasData ? storedBytes : 0,
      deviceMajor: number(block, 329, 8),
      deviceMinor: number(block, 337, 8),
      xattrs: pax.xattrs(),
      sparse: null,
    };
    this.#entry = entry;
    this.#pax = null;
    this.#longName = null;
    this.#longLink = null;
    this.#left = hasData ? storedBytes : 0;
    this.#paddingBytes = padding(this.#left);
    if (type === 'S') this.#startGnuSparse(block);
    else if (hasData && pax.has('GNU.sparse.major')) this.#startPaxSparse(pax);
    else if (hasData && pax.has('GNU.sparse.map')) this.#startPaxSparseMap(pax);
    // PAX 0.0: the map is in fields of one name, which a PAX reader may not keep apart. GNU tar gave it up in 2006.
    else if (hasData && pax.has('GNU.sparse.numblocks')) throw damaged('sparse file of format 0.0');
    else this.#announce();
  }

  #announce(): void {
    const entry = this.#entry!;
    if (entry.sparse) requireSaneMap(entry, this.#left);
    this.#sink.entry(entry);
    this.#state = 'data';
    if (this.#left === 0) this.#endEntry();
  }

  #startGnuSparse(block: Buffer): void {
    const entry = this.#entry!;
    entry.sparse = [];
    entry.sizeBytes = number(block, 483, 12);
    pushGnuSegments(entry.sparse, block, 386, 4);
    if (block[482] === 0) this.#announce();
    else this.#state = 'sparse-extension';
  }

  #sparseExtension(block: Buffer): void {
    pushGnuSegments(this.#entry!.sparse!, block, 0, 21);
    if (block[504] === 0) this.#announce();
  }

  #startPaxSparse(pax: PaxFields): void {
    const entry = this.#entry!;
    entry.sizeBytes = requireNumber(pax.number('GNU.sparse.realsize'));
    this.#metaParts = [];
    this.#state = 'sparse-map';
  }

  #startPaxSparseMap(pax: PaxFields): void {
    const entry = this.#entry!;
    entry.sizeBytes = requireNumber(pax.number('GNU.sparse.size'));
    const numbers = (pax.text('GNU.sparse.map') ?? '').split(',').map((n) => requireNumber(+n));
    entry.sparse = pairs(numbers);
    this.#announce();
  }

  /** Decimal lines: count, then offset and length of each segment; padded to a block. */
  #sparseMap(bytes: Buffer): number {
    if (bytes.length < BLOCK_BYTES) return 0;
    if (this.#left < BLOCK_BYTES) throw damaged('sparse map is longer than its entry');
    this.#metaParts.push(Buffer.from(bytes.subarray(0, BLOCK_BYTES)));
    this.#left -= BLOCK_BYTES;
    const map = Buffer.concat(this.#metaParts);
    if (map.length > META_BYTES_MAX) throw damaged('sparse map is too long');
    const lines = map.toString('latin1').split('\n');
    const count = lines.length > 1 ? requireNumber(Number(lines[0])) : Number.POSITIVE_INFINITY;
    if (lines.length > count * 2 + 1) {
      this.#metaParts = [];
      this.#entry!.sparse = pairs(lines.slice(1, count * 2 + 1).map((n) => requireNumber(+n)));
      this.#announce();
    }
    return BLOCK_BYTES;
  }
}

/** Fields of the entry's own PAX header before those of the global one. */
class PaxFields {
  readonly #global: Pax;
  readonly #local: Pax | null;

  constructor(global: Pax, local: Pax | null) {
    this.#global = global;
    this.#local = local;
  }

  has(key: string): boolean {
    return this.#local?.has(key) === true || this.#global.has(key);
  }

  text(key: string): string | undefined {
    return (this.#local?.get(key) ?? this.#global.get(key))?.toString('utf8');
  }

  number(key: string): number | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    const parsed = Number(value);
    if (value === '' || !Number.isFinite(parsed)) throw damaged(`PAX field ${key}: ${value}`);
    return parsed;
  }

  xattrs(): ReadonlyMap<string, Buffer> {
    if (this.#local === null) return NO_XATTRS;
    let found: Map<string, Buffer> | null = null;
    for (const [key, value] of this.#local) {
      if (!key.startsWith(XATTR_PREFIX)) continue;
      found ??= new Map();
      found.set(key.slice(XATTR_PREFIX.length), value);
    }
    return found ?? NO_XATTRS;
  }
}

const XATTR_PREFIX = 'SCHILY.xattr.';
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

/** Records `<length> <key>=<value>\n`; the value may hold any byte. */
function parsePax(bytes: Buffer, base?: Pax): Pax {
  const fields: Pax = new Map(base);
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(bytes.toString('latin1', at, space));
    const end = at + length;
    const equals = bytes.indexOf(0x3d, space);
    if (!(length > 0) || end > bytes.length || equals < 0 || equals >= end) {
      throw damaged('malformed PAX record');
    }
    const key = bytes.toString('utf8', space + 1, equals);
    const value = Buffer.from(bytes.subarray(equals + 1, end - 1));
    if (value.length === 0) fields.delete(key);
    else fields.set(key, value);
    at = end;
  }
  return fields;
}

function kindOf(type: string, block: Buffer): TarEntryKind {
  switch (type) {
    case '0':
    case '\0':
    case '7':
      // Before ustar a directory was a file whose name ends in a slash.
      return type !== '7' && text(block, 0, 100).endsWith('/') ? 'directory' : 'file';
    case 'S':
      return 'file';
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '3':
      return 'character-device';
    case '4':
      return 'block-device';
    case '5':
      return 'directory';
    case '6':
      return 'fifo';
    default:
      throw damaged(`unknown entry type ${JSON.stringify(type)}`);
  }
}

function ustarName(block: Buffer, type: string): string {
  const name = text(block, 0, 100);
  // Only POSIX ustar ("ustar\0") has the prefix; old GNU ("ustar  ") keeps other things there.
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0' && type !== 'S';
  const prefix = isPosix ? text(block, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function text(block: Buffer, start: number, lengthBytes: number): string {
  const nul = block.indexOf(0, start);
  const end = start + lengthBytes;
  return block.toString('utf8', start, nul < 0 || nul > end ? end : nul);
}

/** Octal text, or base-256 when the top bit of the first byte is set. */
function number(block: Buffer, start: number, lengthBytes: number): number {
  const first = block[start]!;
  if ((first & 0x80) === 0) {
    const digits = block.toString('latin1', start, start + lengthBytes).replace(/[\0 ]+$/, '');
    const trimmed = digits.replace(/^[\0 ]+/, '');
    if (trimmed === '') return 0;
    const end = trimmed.search(/[\0 ]/);
    const value = end < 0 ? trimmed : trimmed.slice(0, end);
    if (!/^[0-7]+$/.test(value)) throw damaged(`bad number in header: ${JSON.stringify(value)}`);
    return Number.parseInt(value, 8);
  }
  let value = first === 0xff ? -1 : first & 0x7f;
  for (let i = start + 1; i < start + lengthBytes; i++) value = value * 256 + block[i]!;
  if (!Number.isSafeInteger(value)) throw damaged('number in header is out of range');
  return value;
}

function verifyChecksum(block: Buffer): void {
  const stored = Number.parseInt(text(block, 148, 8).trim(), 8);
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK_BYTES; i++) if (i < 148 || i >= 156) sum += block[i]!;
  if (sum !== stored) throw damaged('invalid tar header');
}

function isZero(block: Buffer): boolean {
  if (block[0] !== 0) return false;
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

function padding(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

function pushGnuSegments(to: SparseSegment[], block: Buffer, start: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const at = start + i * 24;
    if (block[at] === 0) return;
    to.push({ offset: number(block, at, 12), lengthBytes: number(block, at + 12, 12) });
  }
}

function pairs(numbers: readonly number[]): SparseSegment[] {
  const segments: SparseSegment[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    segments.push({ offset: numbers[i]!, lengthBytes: numbers[i + 1]! });
  }
  return segments;
}

function requireNumber(value: number | undefined): number {
  if (value === undefined || !Number.isSafeInteger(value) || value < 0) {
    throw damaged('malformed sparse file');
  }
  return value;
}

/** Segments ascend, lie inside the file and account for exactly the stored bytes. */
function requireSaneMap(entry: TarEntry, storedBytes: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, lengthBytes } of entry.sparse ?? []) {
    if (offset < end || offset + lengthBytes > entry.sizeBytes) throw damaged('bad sparse map');
    end = offset + lengthBytes;
    sum += lengthBytes;
  }
  if (sum !== storedBytes) throw damaged('sparse map does not match the stored data');
}
