/** A task that writes as fast as it can: what its shim keeps up with, and whether a follower gets all of it. */
import { figure } from '../support/report.ts';
import { openRuntime } from './start.ts';

const BYTES = 256 * 1024 * 1024;
/** What the log keeps: a follower has to come along before it is rotated away. */
const FOLLOWED_BYTES = 100 * 1024 * 1024;

const writing = (bytes: number) => [
  '/bin/sh',
  '-c',
  `exec 2>/dev/null; yes "${'x'.repeat(99)}" | head -c ${bytes}`,
];

export async function logs(): Promise<void> {
  const { helper } = await openRuntime();
  const beganMs = performance.now();
  await helper.ask('run', { id: 'write', args: writing(BYTES) });
  await helper.ask('ended', 'write');
  figure('log_write_mb_per_s', BYTES / 1e6 / ((performance.now() - beganMs) / 1000));
  await helper.ask('run', { id: 'follow', args: writing(FOLLOWED_BYTES) });
  const { seconds, lost } = await helper.ask('follow', { id: 'follow', bytes: FOLLOWED_BYTES });
  figure('log_follow_mb_per_s', FOLLOWED_BYTES / 1e6 / seconds);
  figure('log_follow_lost_bytes', lost);
  await helper.ask('removeAll');
  await helper.kill();
}
