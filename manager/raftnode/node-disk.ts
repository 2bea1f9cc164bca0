/**
 * `Disk` on node:fs: calls run on the thread pool and do not block the event loop, but for small flushes on
 * a disk that has proved quick (`FlushPlace`). Knows nothing of what the files hold.
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { type Clock, SystemClock } from '../../common/base/clock.ts';
import { lockDirectory } from './directory-lock.ts';
import type { Disk, DiskFile, DiskLock, OpenMode } from './disk.ts';
import { FlushPlace } from './flush-place.ts';

const open = promisify(fs.open);
const close = promisify(fs.close);
const fsync = promisify(fs.fsync);
const fdatasync = promisify(fs.fdatasync);
const truncate = promisify(fs.ftruncate);

const FLAGS: Readonly<Record<OpenMode, number>> = {
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
};
const FILE_MODE = 0o600;
const DIR_MODE = 0o700;
const ZERO_BLOCK = Buffer.alloc(1024 * 1024);

export class NodeDisk implements Disk {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #flushPlace = new FlushPlace();

  constructor(clock: Pick<Clock, 'monotonicMs'> = new SystemClock()) {
    this.#clock = clock;
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    const fd = await open(path, FLAGS[mode], FILE_MODE);
    return new NodeDiskFile(path, fd, this.#clock, this.#flushPlace);
  }

  rename(from: string, to: string): Promise<void> {
    return fs.promises.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return fs.promises.unlink(path);
  }

  removeTree(path: string): Promise<void> {
    return fs.promises.rm(path, { recursive: true, force: true });
  }

  readdir(path: string): Promise<string[]> {
    return fs.promises.readdir(path);
  }

  async mkdir(path: string): Promise<void> {
    await fs.promises.mkdir(path, { recursive: true, mode: DIR_MODE });
  }

  async stat(path: string): Promise<{ bytes: number; directory: boolean } | null> {
    try {
      const stat = await fs.promises.stat(path);
      return { bytes: stat.size, directory: stat.isDirectory() };
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw err;
    }
  }

  async fsyncDir(path: string): Promise<void> {
    const fd = await open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      await fsync(fd);
    } finally {
      await close(fd);
    }
  }

  lock(dir: string): Promise<DiskLock> {
    return lockDirectory(dir);
  }
}

class NodeDiskFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #flushPlace: FlushPlace;
  /** The same file, opened so that each write returns when it is durable; made when first needed. */
  #throughFd: number | null = null;

  constructor(path: string, fd: number, clock: Pick<Clock, 'monotonicMs'>, flushPlace: FlushPlace) {
    this.path = path;
    this.#fd = fd;
    this.#clock = clock;
    this.#flushPlace = flushPlace;
  }

  pwrite(data: Uint8Array, offset: number): Promise<void> {
    return writeFully(this.#fd, data, offset);
  }

  read(offset: number, length: number): Promise<Buffer> {
    return readFully(this.#fd, Buffer.allocUnsafe(length), offset);
  }

  truncate(bytes: number): Promise<void> {
    return truncate(this.#fd, bytes);
  }

  fdatasync(): Promise<void> {
    return fdatasync(this.#fd);
  }

  /**
   * One system call and one trip to the thread pool instead of two, which is what a small flush costs
   * most. By descriptor: the file may have been renamed since.
   */
  async writeThrough(data: Uint8Array, offset: number): Promise<void> {
    const flags = fs.constants.O_WRONLY | fs.constants.O_DSYNC;
    this.#throughFd ??= await open(`/proc/self/fd/${this.#fd}`, flags, FILE_MODE);
    const startedMs = this.#clock.monotonicMs();
    if (this.#flushPlace.isAtOnce(data.length)) writeFullyNow(this.#throughFd, data, offset);
    else await writeFully(this.#throughFd, data, offset);
    this.#flushPlace.took(this.#clock.monotonicMs() - startedMs);
  }

  async zeroFill(bytes: number): Promise<void> {
    for (let offset = 0; offset < bytes; offset += ZERO_BLOCK.length) {
      await this.pwrite(
        ZERO_BLOCK.subarray(0, Math.min(ZERO_BLOCK.length, bytes - offset)),
        offset,
      );
    }
  }

  async close(): Promise<void> {
    const throughFd = this.#throughFd;
    this.#throughFd = null;
    if (throughFd !== null) await close(throughFd);
    await close(this.#fd);
  }
}

async function writeFully(fd: number, data: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += await writeSome(fd, data, done, offset + done);
  }
}

function writeSome(fd: number, data: Uint8Array, from: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, data, from, data.length - from, offset, (err, written) => {
      if (err) reject(err);
      else resolve(written);
    });
  });
}

function writeFullyNow(fd: number, data: Uint8Array, offset: number): void {
  for (let done = 0; done < data.length; ) {
    done += fs.writeSync(fd, data, done, data.length - done, offset + done);
  }
}

async function readFully(fd: number, into: Buffer, offset: number): Promise<Buffer> {
  let done = 0;
  while (done < into.length) {
    const got = await readSome(fd, into, done, offset + done);
    if (got === 0) break;
    done += got;
  }
  return into.subarray(0, done);
}

function readSome(fd: number, into: Buffer, at: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, into, at, into.length - at, offset, (err, got) => {
      if (err) reject(err);
      else resolve(got);
    });
  });
}
