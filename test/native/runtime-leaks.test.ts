// Five hundred containers come and go: what the daemon and the kernel hold stays as it was.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { releaseFreed } from '../../native/ffi/memory.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const WARM_UP = 100;
const ROUND = 200;
const AT_ONCE = 5;
/** Containers from one look at the memory to the next. */
const LOOK_EVERY = 20;
/** Of 20 KB that each container would leave, if it left what a running one takes. */
const HEAP_GROWTH_BYTES_MAX = 2 << 20;
/**
 * From one round to the next, of 20 KB each. What the allocators keep for themselves goes up and down, by 14 MB where the
 * machine is busy, so that the middle of the looks in a round counts.
 */
const RSS_GROWTH_BYTES_MAX = 4 << 20;
/** Less than that is no growth: what is really kept grows in each round as in the one before. */
const RSS_NOISE_BYTES = 2 << 20;

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
    shims: box.shims().length,
    namespaces: namespacesHeld(),
  });

  /** By descriptors; what else holds one is a process or a mount, and counted as that. */
  const namespacesHeld = (): number => {
    const links = readdirSync('/proc/self/fd').map(linkOf);
    return links.filter((link) => /^(net|mnt|pid|ipc|uts|cgroup|user):\[/.test(link)).length;
  };

  const rssBytes = (): number => {
    collect();
    releaseFreed();
    return process.memoryUsage.rss();
  };

  /** The median of the looks while `count` containers come and go. */
  async function rssOfRound(count: number): Promise<number> {
    const looks: number[] = [];
    for (let done = 0; done < count; done += LOOK_EVERY) {
      await cycles(LOOK_EVERY);
      looks.push(rssBytes());
    }
    return looks.toSorted((a, b) => a - b)[looks.length >> 1]!;
  }

  const heapBytes = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };

  test('descriptors, mounts, groups, files, processes, namespaces and memory stay', {
    timeout: 300_000,
  }, async () => {
    const settled = await rssOfRound(WARM_UP);
    const before = { held: held(), heap: heapBytes() };
    const first = await rssOfRound(ROUND);
    const second = await rssOfRound(ROUND);
    await expect.poll(held, { timeout: 10_000 }).toEqual(before.held);
    expect(heapBytes() - before.heap).toBeLessThan(HEAP_GROWTH_BYTES_MAX);
    const growth = second - first;
    expect(growth).toBeLessThan(RSS_GROWTH_BYTES_MAX);
    expect(growth).toBeLessThanOrEqual(Math.max(first - settled, RSS_NOISE_BYTES));
  });
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // closed just now
  }
}

function isZombieOfOurs(pid: string): boolean {
  if (!/^\d+$/.test(pid)) return false;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^State:\tZ/m.test(status) && status.includes(`\nPPid:\t${process.pid}\n`);
  } catch {
    return false;
  }
}
