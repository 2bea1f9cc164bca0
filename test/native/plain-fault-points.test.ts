// The daemon dies as by kill -9 at each step of what it does to create, start, stop, restart and remove a container
// outside of services: the next one finds it whole or not at all, runs it once for each time that it was asked to, and can
// take away all of it.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DyingPlainPlace, PlainOperation } from '../support/dying-plain-node.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { leftIn, NOTHING_LEFT, removeGroups } from '../support/node-rooms.ts';
import { IMAGE, LINK, openPlainNode, type PlainNode } from '../support/plain-node.ts';
import { runtimeTestsCanRun } from '../support/runtime-box.ts';

const root = join(import.meta.dirname, '../..');
/** In the package, whose native build it looks for; in a folder that is not committed. */
const bundle = join(root, 'dist', `dying-plain-node-${process.pid}.mjs`);
const FORWARD_FILE = '/proc/sys/net/ipv4/ip_forward';
const SOON = { timeout: 20_000, interval: 5 };
const AT_ONCE = { graceMs: null, signo: null };

/** What the next life may find of the container, and how often its command has run before and after it is asked again. */
interface Expected {
  /** phases; null = there is none */
  readonly found: readonly (string | null)[];
  /** by the end, of a container that runs then: as often as it was started by anybody */
  readonly runs: readonly number[];
}

const EXPECTED: Readonly<Record<PlainOperation, Expected>> = {
  create: { found: [null, 'created'], runs: [1] },
  start: { found: ['created', 'running'], runs: [1] },
  stop: { found: ['running', 'exited'], runs: [1] },
  restart: { found: ['running', 'exited'], runs: [1, 2] },
  remove: { found: ['exited', null], runs: [1] },
  removeRunning: { found: ['running', 'exited', null], runs: [1] },
};

describe.skipIf(!runtimeTestsCanRun)('a daemon that dies amid what it is asked for', () => {
  let dir: string;
  let forwarding: string;
  const cgroupParent = `skep-test-plain-${process.pid}`;
  beforeAll(async () => {
    forwarding = readFileSync(FORWARD_FILE, 'utf8');
    dir = mkdtempSync('/var/tmp/skep-plain-');
    mkdirSync(join(root, 'dist'), { recursive: true });
    buildSync({
      entryPoints: [join(root, 'test/support/dying-plain-node.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
    });
    const imageTar = join(dir, 'image.tar');
    buildBusyboxImage({ name: IMAGE, outTar: imageTar });
    const node = await openPlainNode({ dir, cgroupParent }, imageTar);
    await node.stop();
  });
  afterAll(() => {
    writeFileSync(FORWARD_FILE, forwarding);
    rmSync(bundle, { force: true });
    removeGroups({ dir, cgroupParent });
    rmSync(dir, { recursive: true, force: true });
  });

  const run = (operation: PlainOperation, diesAt: number | null) => {
    const place: DyingPlainPlace = { dir, cgroupParent, operation, diesAt };
    return spawnSync(process.execPath, [bundle, JSON.stringify(place)], { encoding: 'utf8' });
  };

  const timesRun = (id: string): number => {
    const file = join(dir, 'tasks', id, 'upper/ran');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
  };

  const left = (node: PlainNode): object => ({
    ...leftIn({ dir, cgroupParent }, node.rooms),
    links: readdirSync('/sys/class/net').filter((name) => name === LINK),
  });

  /** In the next life what was asked for is asked again, and at last the container's removal. */
  async function goesOn(operation: PlainOperation): Promise<void> {
    const { found, runs } = EXPECTED[operation];
    const node = await openPlainNode({ dir, cgroupParent }, null);
    const { containers } = node;
    try {
      expect(containers.list().length).toBeLessThanOrEqual(1);
      const [container] = containers.list();
      expect(found).toContain(container?.record.phase ?? null);
      if (container) {
        if (operation === 'create' || operation === 'start') await container.start();
        if (operation === 'stop') await container.stop(AT_ONCE);
        if (container.record.phase === 'running') {
          expect(container.state?.status).toBe('running');
          await expect.poll(() => timesRun(container.id), SOON).toBeGreaterThanOrEqual(1);
        }
        expect(runs).toContain(timesRun(container.id));
        await container.remove({ force: true, volumes: true });
      }
      expect(containers.list()).toEqual([]);
      await expect.poll(() => left(node), SOON).toEqual({ ...NOTHING_LEFT, links: [] });
    } finally {
      // None, unless something of the above did not hold: the next one must not find it.
      for (const one of containers.list()) await one.remove({ force: true, volumes: true });
      await node.stop();
    }
  }

  test.each(Object.keys(EXPECTED) as PlainOperation[])(
    '%s',
    { timeout: 300_000 },
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
