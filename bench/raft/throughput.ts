/**
 * Proposals per second and commit latency against etcd: both clusters run side by side, only one is
 * under load, in alternating rounds; medians over the rounds.
 */
import { fileURLToPath } from 'node:url';
import { HelperProcess } from '../support/helper-process.ts';
import type { LoadResult } from '../support/load.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import type { ClientOperations } from './client-process.ts';
import { requireEtcd, startEtcd } from './etcd-cluster.ts';
import { RaftGroup } from './raft-group.ts';

const MEMBERS = 3;
const ROUNDS = 3;
const IN_FLIGHT = [1, 16, 64, 256];
const ROUND_MS = 2_000;
const VALUE_BYTES = 1_000;
/** Code that runs for the first time is compiled: on both sides of a call, and for etcd's client too. */
const WARM_UP_IN_FLIGHT = 64;
const WARM_UP_MS = 5_000;

const SIDES = ['inprocess', 'rpc', 'etcd'] as const;
type Side = (typeof SIDES)[number];

export async function throughput(): Promise<void> {
  say(
    `etcd ${await requireEtcd()}: 3 members on loopback, defaults and mutual TLS, client: grpc-js`,
  );
  const module = fileURLToPath(new URL('./client-process.js', import.meta.url));
  const client = new HelperProcess<ClientOperations>(module);
  const etcd = await startEtcd(client);
  const group = await RaftGroup.start(MEMBERS, 'key-value');
  const identity = await group.clientIdentity();
  const run: Readonly<Record<Side, (inFlight: number, durationMs: number) => Promise<LoadResult>>> =
    {
      inprocess: (inFlight, durationMs) =>
        group.leader.ask('propose', { inFlight, durationMs, valueBytes: VALUE_BYTES }),
      rpc: (inFlight, durationMs) =>
        client.ask('skep', {
          ...{ inFlight, durationMs, valueBytes: VALUE_BYTES },
          ...{ address: group.leaderAddress, identity },
        }),
      etcd: (inFlight, durationMs) =>
        client.ask('etcd', { inFlight, durationMs, valueBytes: VALUE_BYTES, ...etcd }),
    };
  for (const side of SIDES) {
    const { perSecond } = await run[side](WARM_UP_IN_FLIGHT, WARM_UP_MS);
    say(`warm-up of ${side}: ${perSecond.toFixed(0)}/s`);
  }
  const results = new Map<string, LoadResult[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const inFlight of IN_FLIGHT) {
      for (const side of SIDES) {
        const key = `${side}_${inFlight}`;
        const result = await run[side](inFlight, ROUND_MS);
        results.set(key, [...(results.get(key) ?? []), result]);
        say(`${key}: ${result.perSecond.toFixed(0)}/s p50 ${result.p50Ms.toFixed(2)} ms`);
      }
    }
  }
  report(results);
}

function report(results: ReadonlyMap<string, readonly LoadResult[]>): void {
  const middle = (key: string, field: keyof LoadResult): number =>
    median((results.get(key) ?? []).map((result) => result[field]));
  for (const side of SIDES) {
    for (const inFlight of IN_FLIGHT) {
      const key = `${side}_${inFlight}`;
      figure(`${key}_per_s`, middle(key, 'perSecond'));
      figure(`${key}_p50_ms`, middle(key, 'p50Ms'));
      figure(`${key}_p99_ms`, middle(key, 'p99Ms'));
    }
  }
  const etcd64 = middle('etcd_64', 'perSecond');
  figure('proposals_64_inprocess_vs_etcd_ratio', middle('inprocess_64', 'perSecond') / etcd64);
  figure('proposals_64_rpc_vs_etcd_ratio', middle('rpc_64', 'perSecond') / etcd64);
  const etcd1 = middle('etcd_1', 'p50Ms');
  figure('commit_p50_vs_etcd_ratio', middle('rpc_1', 'p50Ms') / etcd1);
  figure('commit_p50_inprocess_vs_etcd_ratio', middle('inprocess_1', 'p50Ms') / etcd1);
}
