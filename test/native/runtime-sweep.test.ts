// What belongs to no container goes while the runtime is in service, and nothing of one that is being made.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

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

  test('a create of the id that is just being swept waits for that', async () => {
    await box.run('kept', 'sleep 1000');
    const killed = plant('again');
    const sweep = box.runtime.sweep();
    expect(await killed).toBe('SIGKILL'); // it is at it
    await box.run('again', 'sleep 1000');
    await sweep;
    expect(readdirSync(box.stateDir).sort()).toEqual(['again', 'kept']);
    expect(box.runtime.get('again')).toMatchObject({ status: 'running' });
    expect((await box.runtime.stats('again')).pids).toBe(1);
  });

  test('a create does not wait for the sweep to find what another one of its id left', async () => {
    await box.run('kept', 'sleep 1000');
    const killed = plant('again');
    const { status } = await box.create('again', ['sleep', '1000']);
    expect(await killed).toBe('SIGKILL');
    expect(status).toBe('created');
    expect(readdirSync(join(box.stateDir, 'again/upper'))).not.toContain('dir');
  });

  test('containers that are made, made anew and removed meanwhile are not touched', async () => {
    let isOver = false;
    const sweeping = (async () => {
      while (!isOver) await box.runtime.sweep();
    })();
    const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
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
