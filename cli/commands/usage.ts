/** What containers use, sampled again and again: the frame of `stats` for containers, services and stacks. */
import type { Command } from 'commander';
import type { ContainerStatsJson } from '../client/container-calls.ts';
import { hasStatus } from '../client/transport.ts';
import type { Row } from '../output/listing.ts';
import { humanBinarySize, humanSize } from '../output/units.ts';
import type { CommandContext } from './context.ts';
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

/** Prints `render` of the rows, each second until Ctrl-C; with `--no-stream` once. */
export async function follow(
  context: CommandContext,
  { stream }: StatsFlags,
  list: () => Promise<readonly Measured[]>,
  render: (rows: readonly Row[]) => string,
): Promise<void> {
  const { stdout, clock, signal } = context;
  let before = await sampleAll(context, await list());
  for (;;) {
    await clock.sleep(PERIOD_MS, signal);
    const measured = await list();
    const now = await sampleAll(context, measured);
    const rows = measured
      .filter(({ id }) => now.has(id))
      .map(({ id, fields }) => ({ ...fields, ...usageRow(now.get(id)!, before.get(id)) }));
    stdout.write((stream && stdout.isTTY ? CLEAR : '') + render(rows));
    if (!stream) return;
    before = now;
  }
}

/** Without those that went away meanwhile, and those whose node cannot be reached. */
async function sampleAll(
  { client }: CommandContext,
  measured: readonly Measured[],
): Promise<ReadonlyMap<string, ContainerStatsJson>> {
  const samples = new Map<string, ContainerStatsJson>();
  await inParallel(measured, AT_ONCE_MAX, async ({ id }) => {
    try {
      samples.set(id, await client.containerStats(id));
    } catch (err) {
      if (!hasStatus(err, 404) && !hasStatus(err, 409) && !hasStatus(err, 503)) throw err;
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
