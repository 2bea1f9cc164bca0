// Shims that do not answer, speak another version or cannot write their files: no task pays for it.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';
import { asVersion1, asVersion99, ShimProxy } from '../support/shim-proxy.ts';

const SIGTERM = 15;
const EXIT_ON_TERM = 'trap "exit 5" TERM; echo ready; while :; do sleep 0.02; done';

function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** False for one that nobody has reaped yet, too. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: supervision', () => {
  let box: RuntimeBox;
  let proxy: ShimProxy | null = null;
  let stopped = 0;
  beforeEach(async () => {
    box = await RuntimeBox.open();
  });
  afterEach(async () => {
    if (stopped > 0 && alive(stopped)) process.kill(stopped, 'SIGCONT');
    stopped = 0;
    for (const { id } of box.runtime.list()) await box.runtime.destroy(id);
    await proxy?.close();
    proxy = null;
    await box.close();
  });

  const file = (id: string, name: string): string => join(box.stateDir, id, name);

  function shimPid(id: string): number {
    return JSON.parse(readFileSync(file(id, 'state'), 'utf8')).shimPid;
  }

  /** Only a shim that we end by SIGCONT or SIGKILL. */
  function stopShim(id: string): number {
    stopped = shimPid(id);
    process.kill(stopped, 'SIGSTOP');
    return stopped;
  }

  /** Before its trap is set, a container's init ignores the signal. */
  async function runUntilTerm(id: string) {
    const state = await box.run(id, EXIT_ON_TERM);
    await expect.poll(() => box.logText(id)).toBe('ready');
    return state;
  }

  async function restart(): Promise<void> {
    box.runtime = box.newRuntime();
    await box.runtime.start();
  }

  test('a shim that is stopped in service keeps no container from its signal, nor from its end', async () => {
    const { pid } = await runUntilTerm('frozen');
    stopShim('frozen');
    await box.runtime.signal('frozen', 15); // past it
    // Nobody reaps the init: what is left of it has ended.
    await expect.poll(() => isRunning(pid), { timeout: 5000 }).toBe(false);
    await box.runtime.killAll('frozen');
    expect(box.runtime.get('frozen')).toMatchObject({ status: 'exited', exit: { exitCode: 137 } });
    await box.runtime.remove('frozen');
  }, 20_000);

  test('a stopped shim delays no start, its container runs on and is taken up later', async () => {
    const { pid } = await runUntilTerm('stopped');
    await box.run('beside', 'sleep 1000');
    await box.runtime.stop();
    const shim = stopShim('stopped');
    const before = performance.now();
    await restart();
    expect(performance.now() - before).toBeLessThan(1500);
    expect(box.runtime.get('stopped')).toMatchObject({ status: 'running', pid });
    expect(box.runtime.get('beside')).toMatchObject({ status: 'running' });
    await expect(box.runtime.exec('stopped', execSpec(['true']))).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    expect(alive(pid)).toBe(true);
    process.kill(shim, 'SIGCONT');
    await expect
      .poll(async () => {
        const session = await box.runtime.exec('stopped', execSpec(['echo', 'here']));
        return execResult(session);
      })
      .toMatchObject({ stdout: 'here\n', exitCode: 0 });
    await box.runtime.signal('stopped', SIGTERM);
    expect(await box.runtime.wait('stopped')).toMatchObject({ exitCode: 5, error: null });
  });

  test('a shim of a newer version keeps its container, whose signal and exit still work', async () => {
    const { pid } = await runUntilTerm('newer');
    await box.runtime.stop();
    proxy = await ShimProxy.open(join(box.stateDir, 'newer'), asVersion99);
    await restart();
    expect(box.runtime.get('newer')).toMatchObject({ status: 'running', pid });
    await expect(box.runtime.exec('newer', execSpec(['true']))).rejects.toMatchObject({
      code: 'failed-precondition',
      message: 'connect to shim: it speaks version 99, this daemon 1 to 4',
    });
    expect(alive(pid)).toBe(true);
    await box.runtime.signal('newer', SIGTERM);
    expect(await box.runtime.wait('newer')).toMatchObject({ exitCode: 5, error: null });
  });

  test('a shim of version 1 is adopted: start, exec, signal and exit', async () => {
    const { pid } = await runUntilTerm('older');
    await box.create('older-waiting', ['sh', '-c', 'exit 3']);
    await box.runtime.stop();
    proxy = await ShimProxy.open(join(box.stateDir, 'older'), asVersion1);
    const second = await ShimProxy.open(join(box.stateDir, 'older-waiting'), asVersion1);
    try {
      await restart();
      expect(box.runtime.get('older')).toMatchObject({ status: 'running', pid });
      const session = await box.runtime.exec('older', execSpec(['echo', 'here']));
      expect(await execResult(session)).toMatchObject({ stdout: 'here\n', exitCode: 0 });
      const unknown = { code: 'unimplemented' };
      await expect(box.runtime.attach('older')).rejects.toMatchObject(unknown);
      await expect(box.runtime.resize('older', 1, 1)).rejects.toMatchObject(unknown);
      await box.runtime.signal('older', SIGTERM);
      expect(await box.runtime.wait('older')).toMatchObject({ exitCode: 5, error: null });
      expect(box.runtime.get('older-waiting')).toMatchObject({ status: 'created' });
      await box.runtime.startContainer('older-waiting');
      expect(await box.runtime.wait('older-waiting')).toMatchObject({ exitCode: 3 });
    } finally {
      await second.close();
    }
  });

  test('an exit that cannot be written is told by the shim, again to the next daemon', async () => {
    await runUntilTerm('full');
    const shim = shimPid('full');
    mkdirSync(file('full', 'exit.tmp')); // in the way of the shim's file
    await box.runtime.signal('full', SIGTERM);
    const exit = await box.runtime.wait('full');
    expect(exit).toMatchObject({ exitCode: 5, signal: 0, oomKilled: false, error: null });
    expect(exit.finishedAtMs).toBeGreaterThan(exit.startedAtMs);
    expect(existsSync(file('full', 'exit'))).toBe(false);
    await box.runtime.stop();
    await restart();
    expect(await box.runtime.wait('full')).toEqual(exit);
    expect(alive(shim)).toBe(true);
    rmdirSync(file('full', 'exit.tmp'));
    await expect.poll(() => existsSync(file('full', 'exit')), { timeout: 5000 }).toBe(true);
    await expect.poll(() => alive(shim)).toBe(false);
    await box.runtime.stop();
    await restart();
    expect(box.runtime.get('full')).toMatchObject({ status: 'exited', exit });
  });

  test('a shim that cannot write its exit ends when its container is removed', async () => {
    await runUntilTerm('full');
    const shim = shimPid('full');
    mkdirSync(file('full', 'exit.tmp'));
    await box.runtime.signal('full', SIGTERM);
    await box.runtime.wait('full');
    await box.runtime.remove('full');
    expect(existsSync(file('full', '.'))).toBe(false);
    await expect.poll(() => alive(shim), { timeout: 5000 }).toBe(false);
  });

  test('why a command never ran is told without the file', async () => {
    await box.create('full', ['/no/such/command']);
    mkdirSync(file('full', 'exit.tmp'));
    await expect(box.runtime.startContainer('full')).rejects.toMatchObject({ exitCode: 127 });
    expect(box.runtime.get('full')?.exit).toMatchObject({
      exitCode: 127,
      error: 'exec: "/no/such/command": no such file or directory',
    });
  });

  test('a running container whose state was never written is adopted, not discarded', async () => {
    await box.create('full', ['sh', '-c', EXIT_ON_TERM]);
    const created = box.runtime.get('full');
    rmSync(file('full', 'state'));
    mkdirSync(file('full', 'state.tmp'));
    const { pid, startedAtMs } = await box.runtime.startContainer('full');
    expect(existsSync(file('full', 'state'))).toBe(false);
    await box.runtime.stop();
    await restart();
    const adopted = box.runtime.get('full');
    expect(adopted).toMatchObject({ status: 'running', pid, createdAtMs: created?.createdAtMs });
    expect(Math.abs((adopted?.startedAtMs ?? 0) - (startedAtMs ?? 0))).toBeLessThan(1000);
    rmdirSync(file('full', 'state.tmp'));
    await expect.poll(() => existsSync(file('full', 'state')), { timeout: 5000 }).toBe(true);
    expect(shimPid('full')).toBeGreaterThan(0);
  });

  test('destroy ends a running container; twice, together, and after its end is the same', async () => {
    const { pid } = await box.run('busy', '(trap "" TERM; sleep 1000) & sleep 1000');
    await expect(box.runtime.remove('busy')).rejects.toMatchObject({ code: 'conflict' });
    expect(alive(pid)).toBe(true);
    await Promise.all([box.runtime.destroy('busy'), box.runtime.destroy('busy')]);
    await box.runtime.destroy('busy');
    expect(alive(pid)).toBe(false);
    expect(box.runtime.list()).toEqual([]);
    expect(readdirSync(box.stateDir)).toEqual([]);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
  });

  test('destroy does not wait for a stopped shim for ever, nor leaves it behind', async () => {
    const { pid } = await box.run('stuck', 'sleep 1000');
    const shim = stopShim('stuck');
    await box.runtime.destroy('stuck');
    expect(alive(pid)).toBe(false);
    await expect.poll(() => alive(shim)).toBe(false);
    expect(readdirSync(box.stateDir)).toEqual([]);
  }, 15_000);
});
