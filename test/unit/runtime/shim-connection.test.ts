import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { EXIT_BYTES, encodeFrame, FRAME, HELLO_BYTES } from '../../../native/ffi/shim-protocol.ts';
import type { TaskCgroup } from '../../../worker/runtime/cgroup/cgroup.ts';
import { Container } from '../../../worker/runtime/container.ts';
import { ShimConnection } from '../../../worker/runtime/shim-connection.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const SPEC = new Uint8Array(0);
const NOBODY = { onFrame: () => {}, onClose: () => {} };
/** More than the kernel gives (`pid_max`): of no process of this machine. */
const NO_PID = 1 << 23;

/** The daemon's end of a shim's socket; what is pushed is what the shim says. */
function shimSocket(): Socket {
  const stream = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  return stream as Duplex as Socket;
}

function hello(): Buffer {
  const payload = Buffer.alloc(HELLO_BYTES);
  payload.writeUInt32LE(3, 0);
  payload.writeUInt32LE(1, 4); // running
  payload.writeInt32LE(NO_PID, 8);
  payload.writeInt32LE(NO_PID, 12);
  return encodeFrame(FRAME.hello, payload);
}

test('a shim whose socket was closed already is not waited for', async () => {
  const socket = shimSocket();
  socket.destroy();
  await new Promise((resolve) => setImmediate(resolve)); // its `close` is over
  const created = ShimConnection.create(socket, SPEC, new FakeClock(), NOBODY);
  await expect(created).rejects.toMatchObject({ code: 'unavailable' });
});

test('a hello that comes behind the end changes nothing', async () => {
  const container = new Container({
    id: 'ended',
    taskDir: '/nonexistent',
    cgroup: {} as TaskCgroup,
    clock: new FakeClock(),
    log: silentLogger,
  });
  const socket = shimSocket();
  const made = container.make(socket, SPEC);
  socket.push(hello());
  await made;
  expect(container.state).toMatchObject({ status: 'running', pid: NO_PID });
  socket.push(encodeFrame(FRAME.exit, Buffer.alloc(EXIT_BYTES)));
  await container.whenExited;
  socket.push(hello());
  await new Promise((resolve) => setImmediate(resolve));
  expect(container.state).toMatchObject({ status: 'exited', pid: 0, netnsPath: null });
});
