import { Duplex, PassThrough } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { addExecRoutes, EXECS_KEPT, Execs } from '../../../daemon/engineapi/execs.ts';
import { frame } from '../../../daemon/engineapi/frames.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerInfo, ContainerView } from '../../../worker/container-view.ts';
import type { ExecSession, ExecSpec } from '../../../worker/runtime/native-runtime.ts';
import { aContainerInfo } from '../../support/container-info.ts';

const CONTAINER_ID = 'c'.repeat(64);

/** A command, which ends when it is told to. */
class FakeSession {
  readonly pid = 7;
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly sizes: number[][] = [];
  isClosed = false;
  end: (exitCode: number) => void = () => {};
  fail: (err: Error) => void = () => {};
  readonly #end = new Promise<{ exitCode: number }>((resolve, reject) => {
    this.end = (exitCode) => {
      resolve({ exitCode });
      this.#endOutput();
    };
    this.fail = (err) => {
      reject(err);
      this.#endOutput();
    };
  });

  wait(): Promise<{ exitCode: number }> {
    return this.#end;
  }

  async resize(rows: number, columns: number): Promise<void> {
    this.sizes.push([rows, columns]);
  }

  close(): void {
    this.isClosed = true;
    this.fail(new SkepError('unavailable', 'wait for exec: the container ended meanwhile'));
  }

  #endOutput(): void {
    this.stdout.end();
    this.stderr.end();
  }
}

/** The connection that was taken over last, and what was written to it. */
let client: Duplex | null;
let written: Buffer;
let condition: ContainerInfo['condition'];
/** What the runtime makes of a start. */
let run: () => Promise<FakeSession>;
let sessions: FakeSession[];
/** What the runtime is asked for. */
let specs: ExecSpec[];
let events: string[];
let execs: Execs;
let handlers: Map<string, (context: RequestContext) => unknown>;

beforeEach(() => {
  [condition, sessions, specs, events, handlers] = ['running', [], [], [], new Map()];
  run = async () => new FakeSession();
  const info = (): ContainerInfo => aContainerInfo({ id: CONTAINER_ID, name: 'web', condition });
  const containers = {
    require: info,
    exec: async (it: ContainerInfo, spec: ExecSpec): Promise<ExecSession> => {
      specs.push(spec);
      if (it.condition === 'paused') throw new SkepError('conflict', 'it is paused');
      const session = await run();
      sessions.push(session);
      return session as unknown as ExecSession;
    },
  } as unknown as ContainerView;
  let minted = 0;
  const random = { bytes: (n: number) => Buffer.alloc(n, String(++minted).padStart(n, '0')) };
  const routes = {
    add: (method: string, path: string, handler: (context: RequestContext) => unknown) =>
      handlers.set(`${method} ${path}`, handler),
  } as unknown as Routes;
  execs = new Execs(random as unknown as ConstructorParameters<typeof Execs>[0]);
  addExecRoutes(routes, {
    containers,
    execs,
    events: { tell: ({ action }) => void events.push(action) },
  });
});

/** What is answered, or its taken over connection. */
async function call(route: string, id: string, body: object = {}): Promise<unknown> {
  let answer: unknown = null;
  await handlers.get(route)!({
    param: () => id,
    json: async () => body,
    apiMinor: 50,
    send: (_status: number, value: unknown) => {
      answer = value;
    },
    empty: (status: number) => {
      answer = status;
    },
    headWasRead: async () => {},
    hijack: () => {
      written = Buffer.alloc(0);
      client = new Duplex({
        read: () => {},
        write: (chunk: Buffer, _encoding, done) => {
          written = Buffer.concat([written, chunk]);
          done();
        },
      });
      answer = client;
      return client;
    },
  } as unknown as RequestContext);
  return answer;
}

const create = async (more: object = {}): Promise<string> => {
  const made = await call('POST /containers/:id/exec', 'web', {
    ...{ Cmd: ['sh'], AttachStdout: true, AttachStderr: true, ...more },
  });
  return (made as { Id: string }).Id;
};
const start = (id: string): Promise<unknown> => call('POST /exec/:id/start', id, { Detach: true });
const inspect = (id: string): Promise<unknown> => call('GET /exec/:id/json', id);
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('an exec', () => {
  test('that two start at once is started once', async () => {
    const id = await create();
    const first = start(id);
    await expect(start(id)).rejects.toMatchObject({ code: 'conflict' });
    await settled();
    expect(sessions.length).toBe(1);
    sessions[0]!.end(3);
    await first;
    expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: 3 });
  });

  test('that has ended is known by its process and exit code, and has no size and no connection any more', async () => {
    const id = await create();
    const started = start(id);
    await settled();
    sessions[0]!.end(3);
    await started;
    expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: 3, Pid: 7 });
    await expect(call('POST /exec/:id/resize', id)).rejects.toMatchObject({ code: 'conflict' });
    expect(sessions[0]!.sizes).toEqual([]);
  });

  test('is known to run in its container from its start to its end', async () => {
    const id = await create();
    expect(execs.runningIn(CONTAINER_ID)).toEqual([]);
    const started = start(id);
    await settled();
    expect(execs.runningIn(CONTAINER_ID)).toEqual([id]);
    expect(execs.runningIn('d'.repeat(64))).toEqual([]);
    sessions[0]!.end(0);
    await started;
    expect(execs.runningIn(CONTAINER_ID)).toEqual([]);
  });

  test('is refused when its container was paused since it was made, and starts later', async () => {
    const id = await create();
    condition = 'paused';
    await expect(start(id)).rejects.toMatchObject({ code: 'conflict' });
    condition = 'running';
    const started = start(id);
    await settled();
    sessions[0]!.end(0);
    await started;
  });

  test('that runs is kept, however many others are made', async () => {
    const [running, idle] = [await create(), await create()];
    const started = start(running);
    await settled();
    for (let i = 0; i < EXECS_KEPT; i++) await create();
    expect(await inspect(running)).toMatchObject({ Running: true });
    await expect(inspect(idle)).rejects.toMatchObject({ code: 'not-found' });
    sessions[0]!.end(0);
    await started;
    await create();
    await expect(inspect(running)).rejects.toMatchObject({ code: 'not-found' });
  });

  const attached = (id: string, body = {}): Promise<unknown> =>
    call('POST /exec/:id/start', id, body);

  test('whose client leaves while it starts is given up, and has ended', async () => {
    const id = await create();
    run = async () => {
      client!.destroy();
      await settled();
      return new FakeSession();
    };
    await attached(id);
    expect(sessions[0]!.isClosed).toBe(true);
    expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: 137 });
    expect(events.at(-1)).toBe('exec_die');
  });

  test('has its headers before its process is made, and its output after them', async () => {
    const id = await create();
    client = null;
    run = async () => {
      expect(client).not.toBeNull();
      return new FakeSession();
    };
    const taken = attached(id);
    await settled();
    sessions[0]!.stdout.write('out');
    sessions[0]!.end(0);
    await taken;
    expect([...written]).toEqual([1, 0, 0, 0, 0, 0, 0, 3, ...Buffer.from('out')]);
  });

  test.each([
    [{ AttachStdout: true }, ['out'], []],
    [{ AttachStderr: true }, [], ['err']],
    [{ AttachStdout: true, AttachStderr: true }, ['out'], ['err']],
    [{}, [], []],
  ])('sends what is asked for: %j', async (wish, stdout, stderr) => {
    const made = await call('POST /containers/:id/exec', 'web', { Cmd: ['sh'], ...wish });
    const { Id } = made as { Id: string };
    const taken = attached(Id);
    await settled();
    sessions[0]!.stdout.write('out');
    await settled();
    sessions[0]!.stderr.write('err');
    await settled();
    sessions[0]!.end(0);
    await taken;
    const frames = [
      ...stdout.map((it) => frame('stdout', Buffer.from(it))),
      ...stderr.map((it) => frame('stderr', Buffer.from(it))),
    ];
    expect(written).toEqual(Buffer.concat(frames));
    const open = { OpenStdout: stdout.length > 0, OpenStderr: stderr.length > 0 };
    expect(await inspect(Id)).toMatchObject(open);
  });

  test.each([
    [new SkepError('invalid-argument', 'no such user'), 126],
    [new SkepError('unavailable', 'the container ended'), 137],
  ])('that cannot be made says so on its error output: %s', async (err, exitCode) => {
    const id = await create();
    run = () => Promise.reject(err);
    await attached(id);
    expect(String(written)).toContain(`${err.message}\r\n`);
    expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: exitCode });
  });

  test.each([
    [{ Tty: true, ConsoleSize: [33, 77] }, [33, 77]],
    [{ Tty: true, ConsoleSize: [0, 0] }, null],
    [{ Tty: false, ConsoleSize: [33, 77] }, null],
  ])("begins with its client's terminal's size: %j", async (more, size) => {
    const made = await call('POST /containers/:id/exec', 'web', { Cmd: ['sh'], ...more });
    const started = attached((made as { Id: string }).Id);
    await settled();
    expect(specs[0]!.consoleSize).toEqual(size);
    sessions[0]!.end(0);
    await started;
  });

  test('takes the size that its start brings over the one that it was made with', async () => {
    const made = { Cmd: ['sh'], Tty: true, ConsoleSize: [33, 77] };
    const { Id } = (await call('POST /containers/:id/exec', 'web', made)) as { Id: string };
    const started = attached(Id, { Tty: true, ConsoleSize: [20, 60] });
    await settled();
    expect(specs[0]!.consoleSize).toEqual([20, 60]);
    sessions[0]!.end(0);
    await started;
  });

  test.each([[[-1, 80]], [[24, 70_000]]])(
    'of a size that no terminal has is refused: %j',
    async (size) => {
      const made = { Cmd: ['sh'], Tty: true, ConsoleSize: size };
      await expect(call('POST /containers/:id/exec', 'web', made)).rejects.toMatchObject({
        code: 'invalid-argument',
      });
    },
  );

  test.each([
    [{ Tty: true }, '\x10\x11', true],
    [{ Tty: true, DetachKeys: 'ctrl-x' }, '\x18', true],
    [{ Tty: true, DetachKeys: 'ctrl-x' }, '\x10\x11', false],
    [{}, '\x10\x11', false],
  ])(
    'is left by the detach keys of its terminal, and runs on: %j, %j',
    async (wish, typed, leaves) => {
      const id = await create({ AttachStdin: true, ...wish });
      const taken = attached(id);
      await settled();
      client!.push(`words${typed}`);
      await settled();
      expect(client!.writableEnded).toBe(leaves);
      client!.destroy();
      await settled();
      expect(sessions[0]!.isClosed).toBe(!leaves);
      expect(events.includes('exec_detach')).toBe(leaves);
      expect(String(sessions[0]!.stdin.read())).toBe(leaves ? 'words' : `words${typed}`);
      sessions[0]!.end(3);
      await taken;
      expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: leaves ? 3 : 137 });
    },
  );

  test('whose detach keys there are not is refused', async () => {
    await expect(create({ DetachKeys: 'ctrl-' })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('whose container ends has ended as killed, and its connection is closed', async () => {
    const id = await create();
    const taken = attached(id);
    await settled();
    sessions[0]!.fail(new SkepError('unavailable', 'the container ended meanwhile'));
    expect(((await taken) as Duplex).writableEnded).toBe(true);
    expect(await inspect(id)).toMatchObject({ Running: false, ExitCode: 137 });
  });
});
