#!/usr/bin/env node
/** The skepd process: makes the clock and the dice, starts the daemon, ends it on signals. */
import { readFileSync } from 'node:fs';
import { SystemClock } from '../common/base/clock.ts';
import { describeError } from '../common/base/errors.ts';
import { createLogger, type Logger } from '../common/base/log.ts';
import { SystemRandom } from '../common/base/random.ts';
import { NodeDisk } from '../manager/raftnode/node-disk.ts';
import { limitFreed, releaseFreed } from '../worker/memory.ts';
import { passedSockets } from './api-listeners.ts';
import { Daemon } from './daemon.ts';
import { parseDockerd } from './dockerd-options.ts';
import { findGroupId } from './groups.ts';
import { collectHeap } from './heap-collection.ts';
import { MemoryTrim } from './memory-trim.ts';
import { type DaemonOptions, parseInvocation } from './options.ts';
import { writePidFile } from './pid-file.ts';
import { type InspectRequest, inspectRaftDirectory } from './raft-inspect.ts';
import { VERSION } from './version.ts';

/** SIGTERM ends the daemon within 5 s; what is not done by then is left to the next start. */
const STOP_LIMIT_MS = 4_500;
/** The C library's own value, before it adapts it to the largest block that was freed. */
const FREED_BYTES_MAX = 128 << 10;

async function main(): Promise<void> {
  const invocation =
    process.argv[2] === 'dockerd'
      ? await parseDockerd(process.argv.slice(3), VERSION, process.env, hasGroup)
      : await parseInvocation(process.argv, VERSION, process.env);
  if (invocation.kind === 'serve') await serve(invocation.options, invocation.pidFile);
  else await inspectRaft(invocation.request);
}

const hasGroup = async (name: string): Promise<boolean> => (await findGroupId(name)) !== null;

async function inspectRaft(request: InspectRequest): Promise<void> {
  const unlockKey = request.unlockKey === '-' ? readFileSync(0, 'utf8').trim() : request.unlockKey;
  const disk = new NodeDisk();
  const { text, isHealthy } = await inspectRaftDirectory(
    { ...request, unlockKey },
    disk,
    new SystemRandom(),
  );
  process.stdout.write(text);
  process.exitCode = isHealthy ? 0 : 1;
}

async function serve(options: DaemonOptions, pidFile: string | null): Promise<void> {
  limitFreed(FREED_BYTES_MAX);
  const removePidFile =
    pidFile === null ? async () => {} : await writePidFile(pidFile, process.pid);
  const log = createLogger(options.logLevel);
  const clock = new SystemClock();
  const daemon = new Daemon({
    options,
    passed: passedSockets(process.env, process.pid),
    disk: new NodeDisk(),
    clock,
    random: new SystemRandom(),
    log,
    onFailure: (err) => {
      // A component died in service: the tasks go on, a new process takes over from what is on disk.
      log.error({ err }, 'daemon failed');
      process.exit(1);
    },
  });
  const trim = memoryTrim(clock, log);
  const end = async (): Promise<void> => {
    trim.stop();
    await daemon.stop();
    await removePidFile();
  };
  const stop = (): void => {
    clock.setTimer(STOP_LIMIT_MS, () => process.exit(1));
    end().then(
      () => process.exit(0),
      (err: unknown) => {
        log.error({ err }, 'daemon did not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.on('SIGPIPE', () => {});
  await daemon.start();
  trim.start();
}

function memoryTrim(clock: SystemClock, log: Logger): MemoryTrim {
  return new MemoryTrim({
    clock,
    cpuMicros: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    residentBytes: () => process.memoryUsage.rss(),
    heapUsedBytes: () => process.memoryUsage().heapUsed,
    collect: collectHeap,
    releaseFreed,
    onFailure: (err) => log.warn({ err }, 'memory not given back'),
  });
}

main().catch((err: unknown) => {
  process.stderr.write(`skepd: ${describeError(err)}\n`);
  process.exit(1);
});
