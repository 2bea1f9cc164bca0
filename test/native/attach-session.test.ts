import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { ERROR_BYTES, NativeError } from '../../native/ffi/library.ts';
import { encodeFrame, FRAME, PROTOCOL_VERSION } from '../../native/ffi/shim-protocol.ts';
import { ShimAttachSession } from '../../worker/runtime/attach-session.ts';

function hello(): Buffer {
  const payload = Buffer.alloc(32);
  payload.writeUInt32LE(PROTOCOL_VERSION, 0);
  return encodeFrame(FRAME.hello, payload);
}

/** Of the first request. */
function refusal(): Buffer {
  const payload = Buffer.alloc(8 + ERROR_BYTES);
  payload.writeUInt32LE(1, 0);
  payload.writeInt32LE(-1, 4);
  return encodeFrame(FRAME.reply, payload);
}

test('an attach that the shim refuses closes its connection', async () => {
  const taskDir = await mkdtemp(join(tmpdir(), 'skep-attach-'));
  const shim = createServer((socket) => {
    socket.write(hello());
    socket.once('data', () => socket.write(refusal()));
    socket.on('error', () => {});
  });
  try {
    await new Promise<void>((resolve) => shim.listen(join(taskDir, 'sock'), resolve));
    const connected = once(shim, 'connection') as Promise<[Socket]>;
    const attached = ShimAttachSession.open(taskDir, new SystemClock());
    await expect(attached).rejects.toBeInstanceOf(NativeError);
    const [socket] = await connected;
    if (!socket.closed) await once(socket, 'close');
  } finally {
    shim.close();
    await rm(taskDir, { recursive: true });
  }
});
