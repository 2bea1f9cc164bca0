/** How much of what was written to a socket its other end has not read yet. Plain libc. */
import koffi, { type KoffiFunc } from 'koffi';
import { errnoName, NativeError } from './library.ts';

const SIOCOUTQ = 0x5411;

type Ioctl = KoffiFunc<(fd: number, request: number, value: number[]) => number>;

let ioctl: Ioctl | null = null;

/**
 * Of a unix socket: memory of the kernel in bytes, more than what was written; 0 = the other end has read all of it
 * (Linux, `unix_outq_len`). Of a TCP socket: what the other end's kernel has not acknowledged (tcp(7)). Throws NativeError.
 */
export function unreadBytes(fd: number): number {
  // The C library that this process already runs on. What is variadic there is passed as this is, on x86-64 and on arm64.
  ioctl ??= koffi.load(null).func('int ioctl(int fd, unsigned long request, _Out_ int *value)');
  const value = [0];
  if (ioctl(fd, SIOCOUTQ, value) < 0) {
    throw new NativeError(errnoName(koffi.errno()), 'ioctl', 'unread bytes of a socket');
  }
  return value[0]!;
}
