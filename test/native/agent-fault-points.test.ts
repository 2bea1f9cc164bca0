// The daemon dies as by kill -9 at each step of what its agent does to start, stop and remove a task: the next
// one brings the task to where it is wanted, runs it once, and can take away all of it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IMAGE, openAgentNode, ordered, TASK_ID } from '../support/agent-node.ts';
import type { AgentOperation, DyingAgentPlace } from '../support/dying-agent-node.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { leftIn, NOTHING_LEFT, removeGroups } from '../support/node-rooms.ts';
import { runtimeTestsCanRun } from '../support/runtime-box.ts';

const root = join(import.meta.dirname, '../..');
/** In the package, whose native build it looks for; in a folder that is not committed. */
const bundle = join(root, 'dist', `dying-agent-node-${process.pid}.mjs`);
const SOON = { timeout: 10_000, interval: 5 };
/** What the next life is told of the task, and where that leads. */
const WANTED = {
  start: ['running', 'running'],
  stop: ['shutdown', 'shutdown'],
  remove: [null, null],
} as const;

describe.skipIf(!runtimeTestsCanRun)('an agent that dies at each step', () => {
  let dir: string;
  const cgroupParent = `skep-test-agent-${process.pid}`;
  beforeAll(async () => {
    dir = mkdtempSync('/var/tmp/skep-agent-');
    mkdirSync(join(root, 'dist'), { recursive: true });
    buildSync({
      entryPoints: [join(root, 'test/support/dying-agent-node.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
    });
    const imageTar = join(dir, 'image.tar');
    buildBusyboxImage({ name: IMAGE, outTar: imageTar });
    const node = await openAgentNode({ dir, cgroupParent }, imageTar);
    await node.stop();
  });
  afterAll(() => {
    rmSync(bundle, { force: true });
    removeGroups({ dir, cgroupParent });
    rmSync(dir, { recursive: true, force: true });
  });

  const run = (operation: AgentOperation, diesAt: number | null) => {
    const place: DyingAgentPlace = { dir, cgroupParent, operation, diesAt };
    return spawnSync(process.execPath, [bundle, JSON.stringify(place)], { encoding: 'utf8' });
  };

  const timesRun = (): number => {
    const file = join(dir, 'tasks', TASK_ID, 'upper/ran');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
  };

  /** The node's manager speaks to the next life, and at last wants nothing of it. */
  async function goesOn(operation: AgentOperation): Promise<void> {
    const [desired, state] = WANTED[operation];
    const node = await openAgentNode({ dir, cgroupParent }, null);
    try {
      if (desired !== null) {
        await node.tasks.apply(ordered(desired), true);
        await expect.poll(() => node.tasks.list()[0]?.status.state, SOON).toBe(state);
      }
      if (operation === 'start') await expect.poll(timesRun, SOON).toBe(1);
      expect(timesRun()).toBeLessThanOrEqual(1);
      await node.tasks.apply([], true);
      await expect.poll(() => node.tasks.list(), SOON).toEqual([]);
      await expect
        .poll(() => leftIn({ dir, cgroupParent }, node.rooms), SOON)
        .toEqual(NOTHING_LEFT);
    } finally {
      await node.stop();
    }
  }

  test.each(Object.keys(WANTED) as AgentOperation[])(
    '%s',
    { timeout: 180_000 },
    async (operation) => {
      const whole = run(operation, null);
      expect(whole.status, whole.stderr).toBe(0);
      await goesOn(operation);
      const steps = JSON.parse(whole.stdout) as string[];
      expect(new Set(steps).size).toBeGreaterThan(4);
      for (const [at, name] of steps.entries()) {
        const died = run(operation, at);
        expect(died.signal, `${operation}, ${at}: ${name}: ${died.stderr}`).toBe('SIGKILL');
        try {
          await goesOn(operation);
        } catch (cause) {
          throw new Error(`${operation}, died at ${at}: ${name}`, { cause });
        }
      }
    },
  );
});
