// The daemon dies as by kill -9 at any moment of create, start, stop and remove: the next one finds a whole
// container or none, runs no command twice, and can remove all of it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { DyingPlace, Operation } from '../support/dying-runtime.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const root = join(import.meta.dirname, '../..');
/** In the package, whose native build it looks for; in a folder that is not committed. */
const bundle = join(root, 'dist', `dying-runtime-${process.pid}.mjs`);
const ID = 'task';
/** A create takes 4 ms on a quiet machine, the others less. */
const MOMENTS_MS = [0, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 25];
/** Where the container stands when the operation had not begun, and when it was done. */
const ENDS: Readonly<Record<Operation, readonly string[]>> = {
  create: ['none', 'created'],
  start: ['created', 'running'],
  stop: ['running', 'exited'],
  remove: ['none', 'exited'],
};

describe.skipIf(!runtimeTestsCanRun)('a daemon that dies at each step', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
    await box.runtime.stop();
    mkdirSync(join(root, 'dist'), { recursive: true });
    buildSync({
      entryPoints: [join(root, 'test/support/dying-runtime.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
    });
  });
  afterEach(async () => {
    await box.runtime.destroy(ID); // of a test that failed
    await box.runtime.stop();
  });
  afterAll(async () => {
    rmSync(bundle, { force: true });
    await box.close();
    expect(box.failures).toEqual([]);
  });

  const die = (operation: Operation, diesAfterMs: number): void => {
    const { stateDir, cgroupParent, lower } = box;
    const place: DyingPlace = { stateDir, cgroupParent, lower, operation, diesAfterMs };
    const run = spawnSync(process.execPath, [bundle, JSON.stringify(place)], { encoding: 'utf8' });
    expect(run.signal, run.stderr).toBe('SIGKILL');
  };

  const timesRun = (): number => {
    const file = join(box.stateDir, ID, 'upper/ran');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
  };

  const ranOnce = () => expect.poll(timesRun, { timeout: 10_000, interval: 5 }).toBe(1);

  /** Runs on what is there, as an agent would whose task it is, and removes it. */
  async function goesOn(operation: Operation): Promise<void> {
    const { runtime } = box;
    const status = runtime.get(ID)?.status;
    if (status === 'created') {
      // One that was told to start before its daemon died does so by itself, and that is this start.
      await runtime.startContainer(ID);
    }
    if (status === 'created' || status === 'running') {
      if (operation === 'create' || operation === 'start') await ranOnce(); // else it was killed early, maybe
      await runtime.killAll(ID);
    }
    expect(timesRun()).toBeLessThanOrEqual(1);
    await runtime.remove(ID);
  }

  function nothingIsLeft(): void {
    expect(readdirSync(box.stateDir)).toEqual([]);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.stateDir);
  }

  test.each(Object.keys(ENDS) as Operation[])('%s', { timeout: 120_000 }, async (operation) => {
    for (const momentMs of MOMENTS_MS) {
      die(operation, momentMs);
      box.runtime = box.newRuntime();
      await box.runtime.start();
      const found = box.runtime.get(ID)?.status ?? 'none';
      expect(ENDS[operation], `${operation}, ${momentMs} ms`).toContain(found);
      await goesOn(operation);
      nothingIsLeft();
      await box.runtime.stop();
      await expect.poll(() => box.shims(), { timeout: 10_000, interval: 5 }).toEqual([]);
    }
  });
});
