/**
 * `npm run jepsen`: managers as real daemons in network namespaces, clients, faults, and at the end the
 * question whether all that the clients learned can be true of one register each. Removes all that it
 * made, also after a failure and on Ctrl-C. Exit status: 0 good, 1 not, 2 wrong usage or no run.
 */
import { cpSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { down, up } from '../../cli/dev/cluster.ts';
import { isRunning } from '../../cli/dev/kernel.ts';
import { DEV_ROOTS, listStates, logFileOf, requireState } from '../../cli/dev/state.ts';
import { SystemClock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { type Run, readRun, writeRun } from './history-file.ts';
import { LagMonitor } from './lag.ts';
import { Nemesis } from './nemesis.ts';
import { slownessOf } from './network-faults.ts';
import { type JepsenOptions, parseOptions, USAGE, UsageError } from './options.ts';
import { Registers } from './registers.ts';
import { Scene } from './scene.ts';
import { describeOutage, judge, summaryLine } from './verdict.ts';
import { Book, Client, KeyRing } from './workload.ts';

const PREFIX = 'jepsen-';
const WHOLE_LIMIT_MS = 60_000;
const FINAL_READ_LIMIT_MS = 20_000;

const clock = new SystemClock();
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2), Date.now() % 1_000_000);
  if (options.check !== null) return conclude(readRun(options.check), options);
  if (process.getuid?.() !== 0) throw new UsageError('root is needed: it makes network namespaces');
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)));
  }
  await removeOrphans();
  const name = `${PREFIX}${process.pid.toString(36)}`;
  const parts = { roots: DEV_ROOTS, clock, signal: interrupted.signal };
  const settings = { logLevel: 'info', insecureRegistries: [] };
  say(`starting ${options.managers} managers (cluster ${name}), seed ${options.seed}`);
  await up({ name, managers: options.managers, workers: 0, ...settings }, parts);
  const history = options.historyPath ?? join(tmpdir(), `skep-jepsen-${options.seed}.jsonl`);
  let status = 2;
  try {
    const run = await perform(name, options, interrupted.signal);
    await writeRun(history, run);
    status = conclude(run, options);
    say(`history: ${history} (check it again with --check)`);
  } finally {
    if (status !== 0) await keepLogs(name, `${history}.logs`);
    await down(name, parts);
  }
  return interrupted.signal.aborted ? 2 : status;
}

async function perform(
  name: string,
  options: JepsenOptions,
  interrupted: AbortSignal,
): Promise<Run> {
  const plan = await requireState(DEV_ROOTS, name);
  const originMs = clock.monotonicMs();
  const nowMs = (): number => clock.monotonicMs() - originMs;
  const random = new SeededRandom(options.seed);
  const slowness = await slownessOf(plan.hosts[0]!);
  say(
    `delays by ${slowness === 'netem' ? 'netem' : 'a narrow queue (tbf): this kernel has no netem'}`,
  );
  const scene = new Scene({ plan, clock, signal: interrupted, slowness, nowMs });
  const nemesis = new Nemesis({
    scene,
    faults: options.faults,
    random: random.fork(),
    nowMs,
    say: (line) => say(`${(nowMs() / 1000).toFixed(1).padStart(7)}  ${line}`),
  });
  const book = new Book();
  const keys = new KeyRing();
  const clients = plan.hosts.flatMap(({ name: hostName, socket }) =>
    Array.from({ length: options.clientsPerManager }, (_, number) => {
      const clientName = `${hostName}.${number + 1}`;
      return new Client({ name: clientName, socket, keys, book, random: random.fork(), nowMs });
    }),
  );
  const lag = new LagMonitor(nowMs);
  try {
    const over = new AbortController();
    const stop = AbortSignal.any([over.signal, interrupted]);
    const running = Promise.all([nemesis.run(stop), ...clients.map((client) => client.run(stop))]);
    running.catch(() => over.abort(new Error('a part of the run failed')));
    await sleep(options.minutes * 60_000, undefined, { signal: stop }).catch(() => {}); // told below
    const endMs = nowMs();
    over.abort(new Error('the time is over'));
    await running;
    interrupted.throwIfAborted();
    await scene.healAll();
    const picture = await scene.becomeWhole(WHOLE_LIMIT_MS);
    const complaints = [
      ...scene.fallen.map((when) => `a daemon ended by itself, noticed of ${when}`),
      ...(picture === null ? [] : [`the cluster did not become whole again: ${picture}`]),
      ...(await finalReads(scene, keys.all, nowMs, book)),
    ];
    for (const line of book.failureLines()) say(line);
    say(machineLine(lag));
    const { seed, managers } = options;
    const { changes } = scene;
    const { operations } = book;
    const { records: faults } = nemesis;
    return { seed, managers, endMs, operations, changes, faults, stalls: lag.stalls, complaints };
  } finally {
    await lag.stop();
  }
}

function machineLine(lag: LagMonitor): string {
  const { steal, pressure } = lag.load();
  const stolen = `${(steal * 100).toFixed(1)} % of the processor stolen`;
  const waiting = pressure === null ? '' : `, ${(pressure * 100).toFixed(0)} % waiting for it`;
  const stalls = `${lag.stalls.length} stalls, longest ${lag.longestMs.toFixed(0)} ms`;
  return `machine: ${stolen}${waiting}, ${stalls}`;
}

/** Every manager is asked for every register. Returns where they do not agree. */
async function finalReads(
  scene: Scene,
  keys: readonly string[],
  nowMs: () => number,
  book: Book,
): Promise<string[]> {
  const answers = new Map<string, string>();
  const complaints: string[] = [];
  for (const host of scene.hosts) {
    const registers = new Registers(host.socket);
    const invokedMs = nowMs();
    try {
      const found = await registers.readAll(AbortSignal.timeout(FINAL_READ_LIMIT_MS));
      for (const key of keys) {
        const outcome = {
          kind: 'saw',
          atMs: nowMs(),
          value: found.get(key)?.value ?? null,
        } as const;
        book.record({
          client: `final@${host.name}`,
          key,
          call: { kind: 'read' },
          invokedMs,
          outcome,
        });
      }
      answers.set(host.name, JSON.stringify([...found].sort(([a], [b]) => (a < b ? -1 : 1))));
    } catch (err) {
      complaints.push(`${host.name} does not answer the final read: ${describeError(err)}`);
    } finally {
      registers.close();
    }
  }
  if (new Set(answers.values()).size > 1) {
    const lines = [...answers].map(([host, answer]) => `  ${host}: ${answer}`);
    complaints.push(`the managers do not agree:\n${lines.join('\n')}`);
  }
  return complaints;
}

function conclude(run: Run, { limitMs }: JepsenOptions): number {
  const verdict = judge(run, limitMs);
  for (const { text } of verdict.check.violations) say(`VIOLATION\n${text}`);
  for (const complaint of verdict.complaints) say(`VIOLATION\n${complaint}`);
  for (const outage of verdict.outages) {
    if (outage.lastedMs > limitMs) say(`UNAVAILABLE\n${describeOutage(run, outage)}`);
  }
  say(summaryLine(run, verdict));
  return verdict.good ? 0 : 1;
}

/** Clusters of runs that were killed. */
async function removeOrphans(): Promise<void> {
  for (const { name } of await listStates(DEV_ROOTS)) {
    if (!name.startsWith(PREFIX)) continue;
    if (await isRunning(Number.parseInt(name.slice(PREFIX.length), 36))) continue;
    say(`removing cluster ${name} of a run that was killed`);
    await down(name, { roots: DEV_ROOTS, clock, signal: new AbortController().signal });
  }
}

async function keepLogs(name: string, folder: string): Promise<void> {
  const { hosts } = await requireState(DEV_ROOTS, name);
  for (const host of hosts) {
    const log = logFileOf(host);
    if (existsSync(log)) cpSync(log, join(folder, `${host.name}.log`));
  }
  say(`logs of the daemons: ${folder}`);
}

// The clock's timers do not keep a process alive.
const alive = setInterval(() => {}, 60_000);
try {
  process.exitCode = await main();
} catch (err) {
  const isUsage = err instanceof UsageError;
  process.stderr.write(
    isUsage ? `jepsen: ${err.message}\n${USAGE}` : `jepsen: ${describeError(err)}\n`,
  );
  process.exitCode = 2;
} finally {
  clearInterval(alive);
}
