/** Datagrams to a unix socket, which Node does not have: what /dev/log is. Plain libc. */
import { closeSync } from 'node:fs';
import koffi, { type KoffiFunc } from 'koffi';
import { errnoName, NativeError } from './library.ts';

// biome-ignore lint/suspicious/noExplicitAny: koffi's own shape of a declared function
type NativeCall = KoffiFunc<(...args: any[]) => any>;

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const PATH_BYTES_MAX = 107;

let calls: Readonly<Record<'socket' | 'connect' | 'send', NativeCall>> | null = null;

function libc(): NonNullable<typeof calls> {
  if (calls === null) {
    const self = koffi.load(null); // the C library that this process already runs on
    calls = {
      socket: self.func('int socket(int domain, int type, int protocol)'),
      connect: self.func('int connect(int fd, const uint8_t *address, uint32_t length)'),
      send: self.func('intptr_t send(int fd, const uint8_t *bytes, size_t length, int flags)'),
    };
  }
  return calls;
}

export class UnixDatagramSocket {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws NativeError when nobody receives there. */
  static connect(path: string): UnixDatagramSocket {
    const name = Buffer.from(path);
    if (name.length > PATH_BYTES_MAX) throw new NativeError('ENAMETOOLONG', 'connect', path);
    const address = Buffer.alloc(2 + PATH_BYTES_MAX + 1); // struct sockaddr_un
    address.writeUInt16LE(AF_UNIX, 0);
    name.copy(address, 2);
    const fd: number = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw new NativeError(errnoName(koffi.errno()), 'socket', path);
    if (libc().connect(fd, address, address.length) < 0) {
      const err = new NativeError(errnoName(koffi.errno()), 'connect', path);
      closeSync(fd);
      throw err;
    }
    return new UnixDatagramSocket(fd);
  }

  /** Does not wait. Throws NativeError, with EAGAIN when the receiver's queue is full. */
  send(bytes: Uint8Array): void {
    const sent: number = libc().send(this.#fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) throw new NativeError(errnoName(koffi.errno()), 'send', 'log message');
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
