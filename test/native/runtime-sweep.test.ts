// What belongs to no container goes while the runtime is in service, and nothing of one that is being made.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { endsWithin } from '../../common/base/deadline.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const FREEZER = '/sys/fs/cgroup/freezer';

describe.skipIf(!runtimeTestsCanRun)('sweep of the runtime', () => {
  let box: RuntimeBox;
  let stray: ChildProcess | null = null;
  beforeEach(async () => {
    box = await RuntimeBox.open();
  });
  afterEach(async () => {
    stray?.kill('SIGKILL');
    await box.close();
    expect(box.failures).toEqual([]);
  });

  const groupsOf = (id: string): string[] => {
    const dirs = box.cgroupDirs().map((dir) => join(dir, id));
    return dirs.filter((dir) => existsSync(dir));
  };

  /** Groups with a process in them and a directory with files, as of a removal that failed half-way. */
  function plant(id: string): Promise<unknown> {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    stray = child;
    for (const dir of box.cgroupDirs().filter((parent) => existsSync(parent))) {
      mkdirSync(join(dir, id, 'below'), { recursive: true });
      writeFileSync(join(dir, id, 'cgroup.procs'), String(child.pid));
    }
    mkdirSync(join(box.stateDir, id, 'upper/dir'), { recursive: true });
    writeFileSync(join(box.stateDir, id, 'log'), 'x');
    return new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
  }

  test('leftovers go with their processes, containers stay', async () => {
    const { pid } = await box.run('kept', 'sleep 1000');
    const killed = plant('left');
    expect(groupsOf('left')).not.toEqual([]);
    await box.runtime.sweep();
    expect(await killed).toBe('SIGKILL');
    expect(groupsOf('left')).toEqual([]);
    expect(readdirSync(box.stateDir)).toEqual(['kept']);
    expect(box.runtime.get('kept')).toMatchObject({ status: 'running', pid });
    const created = await box.create('left', ['sleep', '1000']); // its id is free again
    expect(created.status).toBe('created');
  });

  test('a create of the id that is just being swept waits for that', async ({ skip }) => {
    skip(!existsSync(FREEZER), 'only the freezer of cgroup v1 makes a sweep take long');
    await box.run('kept', 'sleep 1000');
    const killed = plant('again');
    rmSync(join(box.stateDir, 'again'), { recursive: true }); // groups are enough
    const group = join(FREEZER, `${box.cgroupParent}-held`);
    const state = join(group, 'freezer.state');
    mkdirSync(group);
    try {
      writeFileSync(join(group, 'cgroup.procs'), `${stray?.pid}`);
      writeFileSync(state, 'FROZEN');
      const sweep = box.runtime.sweep();
      const status = () => readFileSync(`/proc/${stray?.pid}/status`, 'utf8');
      await expect.poll(status).toMatch(/^(Sig|Shd)Pnd:\t0*100$/m); // SIGKILL waits: it is at it
      const running = box.run('again', 'sleep 1000');
      expect(await endsWithin(new SystemClock(), 300, running)).toBe(false);
      writeFileSync(state, 'THAWED');
      expect(await killed).toBe('SIGKILL');
      await Promise.all([sweep, running]);
      expect(box.runtime.get('again')).toMatchObject({ status: 'running' });
      expect(box.runtime.stats('again').pids).toBe(1);
    } finally {
      writeFileSync(state, 'THAWED');
      await killed;
      rmdirSync(group);
    }
  });

  test('a create does not wait for the sweep to find what another one of its id left', async () => {
    await box.run('kept', 'sleep 1000');
    const killed = plant('again');
    const { status } = await box.create('again', ['sleep', '1000']);
    expect(await killed).toBe('SIGKILL');
    expect(status).toBe('created');
    expect(readdirSync(join(box.stateDir, 'again/upper'))).not.toContain('dir');
  });

  test('containers that are made, made anew and removed meanwhile are not touched', {
    timeout: 90_000,
  }, async () => {
    let isOver = false;
    const sweeping = (async () => {
      while (!isOver) await box.runtime.sweep();
    })();
    const ids = Array.from({ length: 10 }, (_, i) => `c${i}`);
    try {
      for (const id of ids) {
        await box.run(id, 'exit 3');
        expect(await box.runtime.wait(id)).toMatchObject({ exitCode: 3, error: null });
        await box.runtime.renew(id, (bundle) => bundle);
        await box.runtime.startContainer(id);
        expect(await box.runtime.wait(id)).toMatchObject({ exitCode: 3, error: null });
      }
      await Promise.all(ids.map((id) => box.runtime.remove(id)));
    } finally {
      isOver = true;
      await sweeping;
    }
    expect(readdirSync(box.stateDir)).toEqual([]);
  });
});
