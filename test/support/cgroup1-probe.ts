/**
 * Holds and ends containers on cgroup v1 alone, and prints what was seen, one JSON object. Started in a mount
 * namespace without the empty v2 hierarchy of a hybrid machine.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeBox } from './runtime-box.ts';

/** What runtime-limits.test.ts reads. */
export interface Cgroup1Report {
  readonly version: string;
  /** `freezer.state` of a paused container, and of it let go */
  readonly states: readonly string[];
  /** of CPU, in 500 ms paused and in 500 ms let go */
  readonly pausedNanos: number;
  readonly thawedNanos: number;
  /** exit codes of one killed while it was paused, and of a storm of forks */
  readonly exitCodes: readonly number[];
  /** processes of the storm, before its end and after it */
  readonly pids: readonly number[];
  readonly leftovers: readonly string[];
}

/** Each of them ends and is made anew all the time. */
const FORKS = 30;
const STORM = `for i in $(seq ${FORKS}); do while :; do (sleep 0.01); done & done; wait`;

async function probe(box: RuntimeBox): Promise<Omit<Cgroup1Report, 'leftovers'>> {
  const { runtime } = box;
  const state = (): string => {
    const file = `/sys/fs/cgroup/freezer/${box.cgroupParent}/held/freezer.state`;
    return readFileSync(file, 'utf8').trim();
  };
  const used = async (): Promise<number> => {
    const before = runtime.stats('held').cpuUsageNanos;
    await sleep(500);
    return Number(runtime.stats('held').cpuUsageNanos - before);
  };
  await box.run('held', 'while :; do :; done');
  await runtime.freeze('held');
  await sleep(100); // freezing is not immediate
  const frozen = state();
  const pausedNanos = await used();
  await runtime.thaw('held');
  const states = [frozen, state()];
  const thawedNanos = await used();
  await runtime.freeze('held');
  await runtime.killAll('held');

  await box.run('storm', STORM);
  while (runtime.get('storm')?.exit === null && runtime.pids('storm').length < FORKS) {
    await sleep(20);
  }
  const before = runtime.pids('storm').length;
  await runtime.killAll('storm');
  const exits = await Promise.all(['held', 'storm'].map((id) => runtime.wait(id)));
  return {
    version: runtime.cgroupVersion(),
    states,
    pausedNanos,
    thawedNanos,
    exitCodes: exits.map(({ exitCode }) => exitCode),
    pids: [before, runtime.pids('storm').length],
  };
}

const awake = setInterval(() => {}, 1000); // a runtime that waits keeps no process
const box = await RuntimeBox.open();
let seen: Omit<Cgroup1Report, 'leftovers'>;
try {
  seen = await probe(box);
} finally {
  await box.close();
  clearInterval(awake);
}
const leftovers = box.cgroupDirs().filter((dir) => existsSync(dir));
const report: Cgroup1Report = { ...seen, leftovers };
console.log(JSON.stringify(report));
