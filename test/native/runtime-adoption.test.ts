import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';
import { runAndKillOwner } from '../support/runtime-owner.ts';

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Of this machine, without the namespaces and directories that clusters beside us come and go with. */
function mounts(): string[] {
  const ofOthers = / \/(run\/netns|var\/lib\/skep-dev)\//;
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.filter((line) => !ofOthers.test(line));
}

const CROWD = process.env['SKEP_PROOFS'] === 'full' ? 500 : 40;

describe.skipIf(!runtimeTestsCanRun)('native runtime: life beyond its owner', () => {
  let box: RuntimeBox;
  beforeEach(async () => {
    box = await RuntimeBox.open();
  });
  afterEach(() => box.close());

  async function restart(): Promise<void> {
    box.runtime = box.newRuntime();
    await box.runtime.start();
  }

  test('a container survives kill -9 of its owner and is adopted: same pid, log, exit', async () => {
    const script = 'i=0; while [ ! -e /end ]; do echo $i; i=$((i+1)); sleep 0.02; done; exit 9';
    const pid = await runAndKillOwner(box, script);
    expect(alive(pid)).toBe(true);
    const linesBefore = readFileSync(join(box.stateDir, 'adopted/log')).length;
    await restart();
    expect(box.runtime.get('adopted')).toMatchObject({ status: 'running', pid });
    expect(box.runtime.get('waiting')).toMatchObject({ status: 'created' });
    expect(box.runtime.get('adopted')?.startedAtMs).toBeGreaterThan(0);
    await expect
      .poll(() => readFileSync(join(box.stateDir, 'adopted/log')).length)
      .toBeGreaterThan(linesBefore);
    writeFileSync(join(box.runtime.rootPath('adopted'), 'end'), '');
    expect(await box.runtime.wait('adopted')).toMatchObject({
      exitCode: 9,
      signal: 0,
      error: null,
    });
    const lines = (await box.logText('adopted')).split('\n');
    expect(lines).toEqual(lines.map((_, i) => `${i}`)); // none lost, none twice
    await box.runtime.startContainer('waiting');
    await box.runtime.killAll('waiting');
  });

  test('an exit that happened meanwhile is found', async () => {
    const pid = await runAndKillOwner(box, 'sleep 0.3; echo bye; exit 17');
    await expect.poll(() => alive(pid), { timeout: 5000 }).toBe(false);
    await expect.poll(() => existsSync(join(box.stateDir, 'adopted/exit'))).toBe(true);
    await restart();
    expect(box.runtime.get('adopted')).toMatchObject({ status: 'exited', exit: { exitCode: 17 } });
    expect(await box.logText('adopted')).toBe('bye');
  });

  test('a crowd is adopted: who ended meanwhile has ended as it did, and no line is lost', {
    timeout: 120_000,
  }, async () => {
    // One line at least, however late it comes to run.
    const script =
      'i=0; until [ $i -gt 0 ] && [ -e /end ]; do echo $i; i=$((i+1)); sleep 0.5; done; exit 7';
    const ids = Array.from({ length: CROWD }, (_, i) => `crowd-${i}`);
    for (let at = 0; at < CROWD; at += 20) {
      await Promise.all(ids.slice(at, at + 20).map((id) => box.run(id, script)));
    }
    const pids = new Map(box.runtime.list().map(({ id, pid }) => [id, pid]));
    const roots = new Map(ids.map((id) => [id, box.runtime.rootPath(id)]));
    await box.runtime.stop();
    const ending = ids.filter((_, i) => i % 2 === 0);
    for (const id of ending) writeFileSync(join(roots.get(id)!, 'end'), '');
    await expect
      .poll(() => ending.filter((id) => !existsSync(join(box.stateDir, id, 'exit'))), {
        timeout: 60_000,
      })
      .toEqual([]);
    await restart();
    for (const id of ids) {
      const ended = { status: 'exited', exit: { exitCode: 7, signal: 0, error: null } };
      const found = ending.includes(id) ? ended : { status: 'running', pid: pids.get(id) };
      expect(box.runtime.get(id), id).toMatchObject(found);
    }
    for (const id of ids) {
      if (!ending.includes(id)) writeFileSync(join(roots.get(id)!, 'end'), '');
      expect(await box.runtime.wait(id)).toMatchObject({ exitCode: 7 });
      const lines = (await box.logText(id)).split('\n');
      expect(lines, id).toEqual(lines.map((_, i) => `${i}`)); // none lost, none twice
    }
  });

  test('stop leaves containers running; start finds them', async () => {
    const { pid } = await box.run('kept', 'sleep 1000');
    await box.runtime.stop();
    expect(alive(pid)).toBe(true);
    await restart();
    expect(box.runtime.get('kept')).toMatchObject({ status: 'running', pid });
  });

  test('a container that is being made when the runtime stops is given up, and nothing of it stays', async () => {
    const making = box.create('late', ['sleep', '1000']);
    let isOver = false;
    making
      .catch(() => {})
      .finally(() => {
        isOver = true;
      }); // looked at below
    while (!isOver && !existsSync(join(box.stateDir, 'late'))) {
      await new Promise((go) => setImmediate(go));
    }
    await box.runtime.stop();
    await expect(making).rejects.toMatchObject({ code: 'unavailable' });
    expect(box.runtime.list()).toEqual([]);
    expect(readdirSync(box.stateDir)).toEqual([]);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
    await restart();
  });

  test('a container whose shim was killed is killed and reported, in service and at start', async () => {
    const script = '(trap "" TERM; sleep 1000) & sleep 1000';
    for (const stopFirst of [false, true]) {
      const id = `orphan-${stopFirst}`;
      const { pid } = await box.run(id, script);
      const [shim] = box.shims();
      if (stopFirst) await box.runtime.stop();
      process.kill(shim!, 'SIGKILL');
      if (stopFirst) await restart();
      expect(await box.runtime.wait(id)).toMatchObject({
        exitCode: 137,
        error: 'supervision was lost: the shim ended unexpectedly',
      });
      expect(alive(pid)).toBe(false);
      await box.runtime.remove(id);
    }
  });

  test.each([
    ['no bundle', ['bundle.json']],
    ['neither a state nor a socket', ['state', 'sock']],
  ])('a create that was cut short is cleaned up at the next start: %s', async (_, missing) => {
    await box.create('half', ['sleep', '1000']);
    const pid = box.runtime.get('half')?.pid ?? 0;
    await box.runtime.stop();
    for (const name of missing) rmSync(join(box.stateDir, 'half', name));
    await restart();
    expect(box.runtime.list()).toEqual([]);
    expect(existsSync(join(box.stateDir, 'half'))).toBe(false);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
    expect(alive(pid)).toBe(false);
  });

  test('after the last remove nothing is left: no group, mount, process, namespace, file', async () => {
    const mountsBefore = mounts();
    const ids = Array.from({ length: 5 }, (_, i) => `task-${i}`);
    const namespaces: string[] = [];
    await Promise.all(
      ids.map(async (id) => {
        const { netnsPath } = await box.run(id, 'sleep 1000 & (sleep 1000 &) ; sleep 1000');
        namespaces.push(netnsPath ?? '');
      }),
    );
    expect(box.cgroupDirs().some((dir) => existsSync(dir))).toBe(true);
    const pids = box.runtime.list().map((state) => state.pid);
    expect(box.shims()).toHaveLength(ids.length);
    for (const id of ids) {
      await box.runtime.killAll(id);
      await box.runtime.remove(id);
    }
    expect(readdirSync(box.stateDir)).toEqual([]);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
    expect(pids.filter(alive)).toEqual([]);
    expect(namespaces.filter((path) => existsSync(path))).toEqual([]);
    await expect.poll(() => box.shims()).toEqual([]);
    expect(mounts()).toEqual(mountsBefore);
  });
});
