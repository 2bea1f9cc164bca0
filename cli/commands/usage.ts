/** What containers use, sampled again and again: the frame of `stats` for containers, services and stacks. */
import type { Command } from 'commander';
import type { ContainerStatsJson } from '../client/container-calls.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import type { Row } from '../output/listing.ts';
import { humanBinarySize, humanSize } from '../output/units.ts';
import { type CommandContext, ExitError, errorLine, warnLine } from './context.ts';
import { inParallel } from './parallel.ts';

export interface StatsFlags {
  readonly format?: string;
  /** `--no-stream` sets it to false */
  readonly stream: boolean;
  readonly trunc?: boolean;
}

export function statsFlags(command: Command): Command {
  return command
    .option('--format <template>', 'table, json or a template')
    .option('--no-stream', 'once, and not again and again')
    .option('--no-trunc', 'full ids');
}

/** A container to measure, with the fields that its row has beside what is measured. */
export interface Measured {
  readonly id: string;
  readonly fields: Row;
}

/** As Docker samples. */
const PERIOD_MS = 1000;
/** Containers that are asked at once. */
const AT_ONCE_MAX = 16;
const CLEAR = '\x1b[H\x1b[J';

/**
 * Prints `render` of the rows, each second until Ctrl-C; with `--no-stream` once. A container whose node does not answer
 * has a row without figures and is told of on standard error, once as long as that lasts; below a table that is drawn over,
 * each time. Throws `ExitError` when it was
 * only looked once, and something did not answer.
 */
export async function follow(
  context: CommandContext,
  { stream }: StatsFlags,
  list: () => Promise<readonly Measured[]>,
  render: (rows: readonly Row[]) => string,
): Promise<void> {
  const { stdout, clock, signal } = context;
  let before = await sampleAll(context, await list());
  let silent = new Set<string>();
  for (;;) {
    await clock.sleep(PERIOD_MS, signal);
    const measured = await list();
    const now = await sampleAll(context, measured);
    const rows = measured
      .filter(({ id }) => now.has(id))
      .map(({ id, fields }) => {
        const [sample, past] = [now.get(id)!, before.get(id)];
        return { ...fields, ...usageRow(measuredOf(sample), past && measuredOf(past)) };
      });
    const isDrawnOver = stream && stdout.isTTY === true;
    stdout.write((isDrawnOver ? CLEAR : '') + render(rows));
    const failures = measured.flatMap(({ id, fields }) => {
      const sample = now.get(id);
      return sample instanceof ApiError ? [`${fields['Name'] ?? id}: ${errorLine(sample)}`] : [];
    });
    // On the same screen the next table goes over what was said.
    const isWiped = isDrawnOver && context.stderr.isTTY === true;
    for (const line of failures) if (isWiped || !silent.has(line)) warnLine(context, line);
    silent = new Set(failures);
    if (!stream && failures.length > 0) throw new ExitError(1);
    if (!stream) return;
    before = now;
  }
}

/** What is not measured of one that does not run. */
const NOTHING: ContainerStatsJson = {
  ...{ name: '', cpu_stats: {}, memory_stats: {}, pids_stats: {}, blkio_stats: {} },
};

/** `ApiError` = its node does not answer. */
type Sample = ContainerStatsJson | ApiError;

const measuredOf = (sample: Sample): ContainerStatsJson =>
  sample instanceof ApiError ? NOTHING : sample;

/** Without those that went away meanwhile. */
async function sampleAll(
  { client }: CommandContext,
  measured: readonly Measured[],
): Promise<ReadonlyMap<string, Sample>> {
  const samples = new Map<string, Sample>();
  await inParallel(measured, AT_ONCE_MAX, async ({ id }) => {
    try {
      samples.set(id, await client.containerStats(id));
    } catch (err) {
      if (hasStatus(err, 503)) samples.set(id, err);
      else if (!hasStatus(err, 404) && !hasStatus(err, 409)) throw err;
    }
  });
  return samples;
}

/** The fields that are measured, as texts. @param before null or undefined = the first sample */
export function usageRow(now: ContainerStatsJson, before: ContainerStatsJson | undefined): Row {
  const { usage = 0, limit = 0, stats } = now.memory_stats;
  const used = Math.max(0, usage - (stats?.inactive_file ?? 0));
  const isRunning = now.pids_stats.current !== undefined;
  const [received, sent] = networkBytes(now);
  const [read, written] = blockBytes(now);
  return {
    CPUPerc: isRunning ? `${cpuPercent(now, before).toFixed(2)}%` : '--',
    MemUsage: isRunning ? `${humanBinarySize(used)} / ${humanBinarySize(limit)}` : '-- / --',
    MemPerc: isRunning ? `${(limit > 0 ? (used / limit) * 100 : 0).toFixed(2)}%` : '--',
    NetIO: isRunning ? `${humanSize(received)} / ${humanSize(sent)}` : '-- / --',
    BlockIO: isRunning ? `${humanSize(read)} / ${humanSize(written)}` : '-- / --',
    PIDs: isRunning ? String(now.pids_stats.current) : '--',
  };
}

/** Of one CPU: 200 % are two whole ones. */
export function cpuPercent(
  { cpu_stats: now }: ContainerStatsJson,
  before: ContainerStatsJson | undefined,
): number {
  const past = before?.cpu_stats;
  const used = (now.cpu_usage?.total_usage ?? 0) - (past?.cpu_usage?.total_usage ?? 0);
  const passed = (now.system_cpu_usage ?? 0) - (past?.system_cpu_usage ?? 0);
  if (used <= 0 || passed <= 0) return 0;
  return (used / passed) * (now.online_cpus ?? 1) * 100;
}

function networkBytes({ networks }: ContainerStatsJson): readonly [number, number] {
  const all = Object.values(networks ?? {});
  const sum = (key: 'rx_bytes' | 'tx_bytes'): number =>
    all.reduce((bytes, one) => bytes + one[key], 0);
  return [sum('rx_bytes'), sum('tx_bytes')];
}

function blockBytes({ blkio_stats }: ContainerStatsJson): readonly [number, number] {
  const all = blkio_stats.io_service_bytes_recursive ?? [];
  const sum = (op: string): number =>
    all.reduce((bytes, one) => bytes + (one.op.toLowerCase() === op ? one.value : 0), 0);
  return [sum('read'), sum('write')];
}
