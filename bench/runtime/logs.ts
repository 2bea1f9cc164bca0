/**
 * What a shim keeps up with when its task writes as fast as it can, what that costs a command in another container, and whether
 * a follower gets all that comes at more than 50 MB/s.
 */
import { figure } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { openRuntime } from './start.ts';

const BYTES = 256 * 1024 * 1024;
/** More than the log keeps (30 MiB): a follower has to come along before it is rotated away. */
const FOLLOWED_BYTES = 100 * 1024 * 1024;
/** More than the 50 MB/s that are to be followed: what starting its commands takes the writer comes off. */
const FOLLOWED_BYTES_PER_S = 60e6;
const BURSTS = 100;
/** While nobody writes; while somebody does, as many as it takes. */
const EXECS = 40;
const EXECS_AT_ONCE = 5;

const lines = (bytes: number) => `yes "${'x'.repeat(99)}" | head -c ${bytes}`;
const shell = (script: string) => ['/bin/sh', '-c', `exec 2>/dev/null; ${script}`];

/** In equal bursts, each as fast as can be; the rate is its most. */
function paced(bytes: number): string {
  const pauseS = bytes / BURSTS / FOLLOWED_BYTES_PER_S;
  return `i=0; while [ $i -lt ${BURSTS} ]; do sleep ${pauseS.toFixed(3)} & ${lines(bytes / BURSTS)}; wait; i=$((i+1)); done`;
}

export async function logs(): Promise<void> {
  const { helper } = await openRuntime();
  await helper.ask('run', { id: 'beside', args: shell('exec sleep 100000') });
  const quiet = await helper.ask('execTrue', { id: 'beside', count: EXECS });
  const beganMs = performance.now();
  await helper.ask('run', { id: 'write', args: shell(lines(BYTES)) });
  await helper.ask('ended', 'write');
  figure('log_write_mb_per_s', BYTES / 1e6 / ((performance.now() - beganMs) / 1000));
  await helper.ask('run', { id: 'write-on', args: shell(lines(BYTES)) });
  let isWriting = true;
  const ended = helper.ask('ended', 'write-on').then(() => {
    isWriting = false;
  });
  const beside: number[] = [];
  while (isWriting) {
    beside.push(...(await helper.ask('execTrue', { id: 'beside', count: EXECS_AT_ONCE })));
  }
  await ended;
  figure('log_beside_writer_exec_ms', median(beside));
  figure('log_beside_writer_exec_ratio', median(beside) / median(quiet));
  await helper.ask('run', { id: 'follow', args: shell(paced(FOLLOWED_BYTES)) });
  const { seconds, lost } = await helper.ask('follow', { id: 'follow', bytes: FOLLOWED_BYTES });
  figure('log_follow_mb_per_s', FOLLOWED_BYTES / 1e6 / seconds);
  figure('log_follow_lost_bytes', lost);
  if (lost !== 0) throw new Error(`the follower lost ${lost} of ${FOLLOWED_BYTES} bytes`);
  await helper.ask('removeAll');
  await helper.kill();
}
