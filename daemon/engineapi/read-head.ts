/**
 * Waits until a client has read the head of an answer whose connection was taken over. docker-py reads the head through a
 * buffer and what follows past it: what comes together with the head stays in the buffer, and is lost to it.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { unreadBytes } from '../../native/ffi/unread.ts';

const LOOK_AGAIN_MS = 1;
/** A client that reads nothing for so long may get all of it at once. */
export const HEAD_UNREAD_MS_MAX = 2_000;

/** Resolves at once when it has, when it is gone, and by TCP, where nobody can tell. */
export async function headWasRead(connection: Duplex, clock: Clock): Promise<void> {
  const fd = unixDescriptorOf(connection);
  if (fd === null) return;
  const untilMs = clock.monotonicMs() + HEAD_UNREAD_MS_MAX;
  while (!connection.destroyed && unreadBytes(fd) > 0 && clock.monotonicMs() < untilMs) {
    await clock.sleep(LOOK_AGAIN_MS);
  }
}

/** Of its handle, which Node keeps to itself; null when it is no unix socket. */
function unixDescriptorOf(connection: Duplex): number | null {
  if (!(connection instanceof Socket) || connection.remoteFamily !== undefined) return null;
  const { _handle: handle } = connection as { _handle?: { readonly fd?: number } | null };
  const fd = handle?.fd ?? -1;
  return fd >= 0 ? fd : null;
}
