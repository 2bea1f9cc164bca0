import { describe, expect, test } from 'vitest';
import { probeIn } from '../../../worker/executor/probe.ts';
import { SIGKILL } from '../../../worker/executor/signals.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { FakeRuntime, type ProbeScript } from '../../support/fake-container-host.ts';

const ID = 'box';

function scene(script: ProbeScript, output = '') {
  const clock = new FakeClock();
  const runtime = new FakeRuntime();
  runtime.addRunning(ID);
  runtime.probes = [script];
  runtime.probeOutput = output;
  const abort = new AbortController();
  const probe = probeIn(runtime, ID, clock);
  return { clock, runtime, abort, run: () => probe(['check', '-x'], 2_000, abort.signal) };
}

function pause(runtime: FakeRuntime): void {
  const container = runtime.containers.get(ID)!;
  container.state = { ...container.state, paused: true };
}

describe('health probe', () => {
  test.each([0, 1, 127])('ends with the exit code of its command: %i', async (code) => {
    const it = scene(code, 'all well');
    const result = await it.run();
    expect(result).toMatchObject({ exitCode: code, output: 'all well' });
    expect(it.runtime.execs).toMatchObject([{ args: ['check', '-x'], tty: false, user: null }]);
    expect(it.clock.pending).toBe(0);
  });

  test('keeps the first 4096 bytes of output', async () => {
    const it = scene(0, 'x'.repeat(5_000));
    expect((await it.run())?.output).toBe('x'.repeat(4_096));
  });

  test('one that takes too long is killed and counts as failed', async () => {
    const it = scene('hangs');
    const running = it.run();
    await it.clock.advance(2_000);
    expect(await running).toMatchObject({
      exitCode: -1,
      output: 'health check exceeded timeout (2000 ms)',
      startedAtMs: it.clock.wallMs() - 2_000,
      endedAtMs: it.clock.wallMs(),
    });
    expect(it.runtime.calls).toEqual([`kill probe ${SIGKILL}`]);
    expect(it.clock.pending).toBe(0);
  });

  test('one that cannot be run counts as failed and says why', async () => {
    const it = scene(0);
    it.runtime.end(ID);
    const result = await it.run();
    expect(result?.exitCode).toBe(-1);
    expect(result?.output).toContain('not running');
  });

  test('none runs while the container is paused', async () => {
    const it = scene(1);
    pause(it.runtime);
    expect(await it.run()).toBeNull();
    expect(it.runtime.execs).toEqual([]);
    expect(it.clock.pending).toBe(0);
  });

  test('one that is frozen with its container says nothing', async () => {
    const it = scene('hangs');
    const running = it.run();
    await settle();
    pause(it.runtime);
    await it.clock.advance(2_000);
    expect(await running).toBeNull();
    expect(it.runtime.calls).toEqual([`kill probe ${SIGKILL}`]);
    expect(it.clock.pending).toBe(0);
  });

  test('a cancelled one is killed and rejects with the reason', async () => {
    const it = scene('hangs');
    const refused = expect(it.run()).rejects.toThrow('container ended');
    await settle();
    it.abort.abort(new Error('container ended'));
    await refused;
    expect(it.runtime.calls).toEqual([`kill probe ${SIGKILL}`]);
    expect(it.clock.pending).toBe(0);
  });

  test('one that is cancelled while it is being begun does not wait for its timeout', async () => {
    const it = scene('hangs');
    const refused = expect(it.run()).rejects.toThrow('container ended');
    it.abort.abort(new Error('container ended'));
    await refused;
    expect(it.clock.pending).toBe(0);
  });

  test('one whose begin stands still fails at its timeout, and what begins later is let go', async () => {
    const it = scene('hangs');
    const exec = it.runtime.exec.bind(it.runtime);
    let begins = (): void => {};
    let given: AbortSignal | undefined;
    let isClosed = false;
    it.runtime.exec = async (id, spec, signal?: AbortSignal) => {
      given = signal;
      await new Promise<void>((resolve) => {
        begins = resolve;
      });
      const close = (): void => {
        isClosed = true;
      };
      return { ...(await exec(id, spec)), close };
    };
    const running = it.run();
    await it.clock.advance(2_000);
    expect(await running).toMatchObject({
      exitCode: -1,
      output: 'health check exceeded timeout (2000 ms)',
    });
    expect(given?.aborted).toBe(true);
    expect(it.clock.pending).toBe(0);
    begins();
    await settle();
    expect(isClosed).toBe(true);
  });

  test('a shim that does not answer the kill is not waited for', async () => {
    const it = scene('hangs');
    const exec = it.runtime.exec.bind(it.runtime);
    it.runtime.exec = async (id, spec) => ({
      ...(await exec(id, spec)),
      kill: () => new Promise(() => {}),
    });
    const running = it.run();
    await it.clock.advance(2_000);
    expect(await running).toMatchObject({ exitCode: -1 });
  });
});
