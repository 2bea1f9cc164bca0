import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { ERROR_BYTES } from '../../../native/ffi/library.ts';
import { EXIT_BYTES, encodeFrame, FRAME, HELLO_BYTES } from '../../../native/ffi/shim-protocol.ts';
import type { TaskCgroup } from '../../../worker/runtime/cgroup/cgroup.ts';
import { Container } from '../../../worker/runtime/container.ts';
import { ShimConnection } from '../../../worker/runtime/shim-connection.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const SPEC = new Uint8Array(0);
const NOBODY = { onFrame: () => {}, onClose: () => {} };
/** More than the kernel gives (`pid_max`): of no process of this machine. */
const NO_PID = 1 << 23;

const CREATED = 0;
const RUNNING = 1;
const EBUSY = 16;
const EIO = 5;

/** The daemon's end of a shim's socket; what is pushed is what the shim says. */
function shimSocket(): Socket {
  const stream = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  return stream as Duplex as Socket;
}

function hello(status = RUNNING): Buffer {
  const payload = Buffer.alloc(HELLO_BYTES);
  payload.writeUInt32LE(3, 0);
  payload.writeUInt32LE(status, 4);
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

describe('a start that an earlier daemon asked for', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-shim-'));
  let status = CREATED;
  let greeted = 0;
  const shim = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(hello(status));
    greeted++;
  });
  beforeAll(() => new Promise<void>((resolve) => shim.listen(join(dir, 'sock'), resolve)));
  afterAll(() => {
    shim.close();
    rmSync(dir, { recursive: true });
  });

  /** Its start was refused: the shim has had the order before. */
  async function startAgain() {
    status = CREATED;
    greeted = 0;
    const clock = new FakeClock();
    const options = { id: 'slow', taskDir: dir, cgroup: {} as TaskCgroup };
    const container = new Container({ ...options, clock, log: silentLogger });
    const socket = shimSocket();
    const made = container.make(socket, SPEC);
    socket.push(hello(CREATED));
    await made;
    const outcome = container.start().then(
      () => 'runs',
      (err: unknown) => String(err),
    );
    await settle(); // the request is on its way
    const refusal = Buffer.alloc(8 + ERROR_BYTES);
    refusal.writeUInt32LE(1, 0);
    refusal.writeInt32LE(-1, 4);
    refusal.writeInt32LE(EBUSY, 8);
    refusal.write('shim', 12);
    socket.push(encodeFrame(FRAME.reply, refusal));
    await expect.poll(() => greeted).toBe(1);
    return { clock, container, socket, outcome };
  }

  test('is the same start: it is over once the command runs', async () => {
    const { clock, container, outcome } = await startAgain();
    expect(container.state.status).toBe('created');
    status = RUNNING;
    await expect
      .poll(async () => {
        await clock.advance(50);
        return container.state.status;
      })
      .toBe('running');
    expect(await outcome).toBe('runs');
    expect(greeted).toBeGreaterThan(1);
  });

  test('fails when that one fails', async () => {
    const { container, socket, outcome } = await startAgain();
    const exit = Buffer.alloc(EXIT_BYTES);
    exit.writeInt32LE(EIO, EXIT_BYTES - ERROR_BYTES);
    exit.write('execve', EXIT_BYTES - ERROR_BYTES + 4);
    socket.push(encodeFrame(FRAME.exit, exit));
    expect(await outcome).toContain('start container slow: ');
    expect(await outcome).toContain('EIO');
    expect(container.state.status).toBe('exited');
  });
});
