// Five hundred containers come and go: what the daemon and the kernel hold stays as it was.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const WARM_UP = 100;
const CYCLES = 400;
const AT_ONCE = 5;
/** Of 20 KB that each container would leave, if it left what a running one takes. */
const HEAP_GROWTH_BYTES_MAX = 2 << 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

describe.skipIf(!runtimeTestsCanRun)('containers that come and go', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  async function cycles(count: number): Promise<void> {
    for (let done = 0; done < count; done += AT_ONCE) {
      const ids = Array.from({ length: AT_ONCE }, (_, i) => `c${done + i}`);
      await Promise.all(ids.map((id) => box.run(id, 'sleep 1000')));
      await Promise.all(ids.map((id) => box.runtime.killAll(id)));
      await Promise.all(ids.map((id) => box.runtime.remove(id)));
    }
  }

  const held = () => ({
    descriptors: readdirSync('/proc/self/fd').length,
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split(box.dir).length - 1,
    groups: box.cgroupDirs().filter((dir) => existsSync(dir)).length,
    directories: readdirSync(box.stateDir).length,
    zombies: readdirSync('/proc').filter((pid) => isZombieOfOurs(pid)).length,
  });

  const heapBytes = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };

  test('descriptors, mounts, groups, files, children and heap stay', {
    timeout: 300_000,
  }, async () => {
    await cycles(WARM_UP);
    const before = { held: held(), heap: heapBytes() };
    await cycles(CYCLES);
    await expect.poll(held, { timeout: 10_000 }).toEqual(before.held);
    expect(heapBytes() - before.heap).toBeLessThan(HEAP_GROWTH_BYTES_MAX);
  });
});

function isZombieOfOurs(pid: string): boolean {
  if (!/^\d+$/.test(pid)) return false;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^State:\tZ/m.test(status) && status.includes(`\nPPid:\t${process.pid}\n`);
  } catch {
    return false;
  }
}
