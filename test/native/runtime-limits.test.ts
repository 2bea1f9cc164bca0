import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OciResources, OciSpec } from '../../worker/runtime/oci.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const MIB = 1024 * 1024;

function withResources(resources: Partial<OciResources>) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    linux: { ...spec.linux, resources: { ...spec.linux.resources, ...resources } },
  });
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: resource limits', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(() => box.close());

  /** Cores used over `windowMs`. */
  async function coresUsed(id: string, windowMs: number): Promise<number> {
    const before = await box.runtime.stats(id);
    const startedMs = performance.now();
    await sleep(windowMs);
    const after = await box.runtime.stats(id);
    expect(after.throttledPeriods).toBeGreaterThan(before.throttledPeriods);
    const usedMs = Number(after.cpuUsageNanos - before.cpuUsageNanos) / 1e6;
    return usedMs / (performance.now() - startedMs);
  }

  test('half a core is half a core', { timeout: 60_000 }, async () => {
    const quota = { cpu: { quota: 50_000, period: 100_000, shares: 10_240 } };
    await box.run('cpu', 'while :; do :; done', withResources(quota));
    await sleep(300); // past the first period
    // Never more; on a machine that is busy with other work it may have to wait for a quiet moment
    // to get as much.
    const seen: number[] = [];
    while (seen.length < 8 && !seen.some((cores) => cores >= 0.45)) {
      seen.push(await coresUsed('cpu', 4000));
    }
    await box.runtime.killAll('cpu');
    expect(Math.max(...seen), `${seen}`).toBeGreaterThanOrEqual(0.45);
    expect(Math.max(...seen), `${seen}`).toBeLessThan(0.55);
  });

  test('allocating more than the memory limit ends as OOM with 137', async () => {
    const limit = { memory: { limit: 64 * MIB, swap: null } };
    await box.run(
      'memory',
      'exec dd if=/dev/zero of=/dev/null bs=100M count=1',
      withResources(limit),
    );
    expect(await box.runtime.wait('memory')).toMatchObject({
      exitCode: 137,
      signal: 9,
      oomKilled: true,
    });
    expect((await box.runtime.stats('memory')).memoryLimitBytes).toBe(64 * MIB);
  });

  test('a fork storm stops at the pids limit', async () => {
    const script = 'i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done';
    await box.run('pids', `(${script}) ; sleep 100`, withResources({ pids: { limit: 20 } }));
    await expect.poll(() => box.logText('pids')).toContain("can't fork");
    const stats = await box.runtime.stats('pids');
    expect(stats.pidsLimit).toBe(20);
    expect(stats.pids).toBeLessThanOrEqual(20);
    await box.runtime.killAll('pids');
  });

  test('limits can be changed while it runs, in both directions', async () => {
    await box.run(
      'update',
      'sleep 100',
      withResources({ memory: { limit: 64 * MIB, swap: null } }),
    );
    for (const limit of [256 * MIB, 32 * MIB, null]) {
      await box.runtime.updateResources('update', { memory: { limit, swap: null }, devices: [] });
      expect((await box.runtime.stats('update')).memoryLimitBytes).toBe(limit);
    }
    await box.runtime.killAll('update');
  });

  test('a frozen container stands still, and can be killed', async () => {
    await box.run('frozen', 'while :; do :; done');
    await box.runtime.freeze('frozen');
    await sleep(100); // freezing is not immediate
    const before = await box.runtime.stats('frozen');
    await sleep(300);
    const after = await box.runtime.stats('frozen');
    expect(after.cpuUsageNanos - before.cpuUsageNanos).toBeLessThan(20_000_000n);
    await box.runtime.killAll('frozen');
    expect(await box.runtime.wait('frozen')).toMatchObject({ exitCode: 137 });
  });
});
