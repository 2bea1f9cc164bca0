// Requests by chance to every route of real daemons: each is answered, as Docker's documents say where they are there, nothing that
// is not meant by 500; nothing ends them, nothing of it stays. SKEP_PROOFS=full makes 100,000 in one run, SKEP_FUZZ_REQUESTS=n as
// many as that, SKEP_FUZZ_SEED=n the same ones again.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../common/base/random.ts';
import { type ApiAnswer, sendApiRequest } from '../support/api-answers.ts';
import { type ApiRequest, ApiRequests } from '../support/api-requests.ts';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { complaintOfText, isMeantFailure } from '../support/docker-swagger.ts';
import { sweepCluster, sweepNode } from '../support/engine-sweep.ts';
import { useCluster } from '../support/use-cluster.ts';

const isFull = process.env['SKEP_PROOFS'] === 'full';
const AT_ONCE = 16;
/** What the requests made is removed after so many to each host, while others are made: else lists grow, and with them all that is measured here. */
const SWEEP_EVERY = 500;
/** After which all requests have ended: some take ten seconds, for which the others wait. */
const ROUNDS = 4;
const SEED = numberIn('SKEP_FUZZ_SEED', Date.now() % 2 ** 32, 0);
const DESCRIPTORS_MORE_MAX = 20;
/** What a request may leave behind: a leak of one object of some fields each time is more. */
const MEMORY_PER_REQUEST_MAX_KIB = 0.5;
/** What the Raft log holds between two snapshots is no leak: as little of it as can be. */
const LOG_ENTRIES = 500;
/** After which a daemon at rest has given back what a busy time needed, on a machine that is loaded, too. */
const REST_MS = 10_000;
/** By which two measurements of a daemon differ that holds the same. */
const MEMORY_NOISE_KIB = 16 * 1024;
/** Of 1,000 requests, at least: what was made is met again, else most of them are for nothing that there is. */
const EMPTY_ANSWERS_MIN = 2;
/** Of 1,000 requests, at least: connections that are given up are a way of their own through the server. */
const TAKE_OVERS_MIN = 4;
/** Of the requests, at least: what is told of the others says nothing of them. */
const ANSWERED_MIN = 0.9;

/** Clusters to which requests are made, by turns to each host. */
const CLUSTERS = [
  {
    ...{ title: 'one manager', managers: 1, workers: 0, leftOut: [] as readonly string[] },
    requests: numberIn('SKEP_FUZZ_REQUESTS', isFull ? 100_000 : 4_000, 2 * SWEEP_EVERY),
  },
  {
    ...{ title: 'three managers and a worker', managers: 3, workers: 1 },
    // Managers that were demoted, and nodes that are gone, answer nothing of what is asked here.
    leftOut: ['POST /nodes/:id/update', 'DELETE /nodes/:id'],
    requests: isFull ? 10_000 : 2_000,
  },
];

/** Of the environment. A word that means nothing, or too few to compare anything by, is no reason to pass. */
function numberIn(variable: string, absent: number, min: number): number {
  const value = Number(process.env[variable] ?? absent);
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new Error(`${variable}: ${process.env[variable]} is no whole number from ${min} on`);
}

/** What Docker's document of the version that was asked for has against an answer. */
function complaintOf({ method, path }: ApiRequest, answer: ApiAnswer): string {
  if (answer.kind !== 'answer' || !answer.isJson) return '';
  const [, minor, bare = '/'] = /^(?:\/v1\.(\d+))?(\/[^?]*)/.exec(path) ?? [];
  if (bare.startsWith('/skep/')) return '';
  return complaintOfText(Number(minor ?? 50), method, bare, answer.status, answer.text);
}

const isUnmeant = (answer: ApiAnswer): boolean =>
  answer.kind === 'silent' ||
  answer.kind === 'dropped' ||
  ('status' in answer && answer.status === 500 && !isMeantFailure(answer.text));

/** What a daemon holds. */
interface Holding {
  readonly descriptors: number;
  readonly residentKib: number;
}

function holdingOf(pid: number): Holding {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    residentKib: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]),
  };
}

describe.skipIf(!clusterTestsCanRun).each(CLUSTERS)(
  `requests by chance to $title, seed ${SEED}`,
  ({ managers, workers, leftOut, requests: total }) => {
    const shared = useCluster('fuzz', { managers, workers, logLevel: 'error' }, (cluster) =>
      cluster.image({ name: 'box:latest' }),
    );
    // The answers are judged here; many of the requests are none by which messages are told apart.
    const sockets = () => shared.current.hosts.map(({ daemonSocket }) => daemonSocket);

    // What is one node's is met again there alone.
    let generators: readonly ApiRequests[] = [];

    /** All that the requests can have made goes, and the image that they may have removed is there again. */
    const sweep = async (): Promise<void> => {
      await sweepCluster(sockets()[0]!);
      const haveImages = await Promise.all(sockets().map((path) => sweepNode(path)));
      if (haveImages.includes(false)) await shared.current.image({ name: 'box:latest' });
      for (const requests of generators) requests.forget();
    };
    const pids = () =>
      Promise.all(shared.current.hosts.map((it) => shared.current.daemonPid(it.name)));

    test(`${total} of them`, { timeout: 120_000 + total * 60 }, async () => {
      await shared.current.skep(['swarm', 'update', '--snapshot-interval', `${LOG_ENTRIES}`]);
      const before = await pids();
      generators = sockets().map((_, at) => new ApiRequests(new SeededRandom(SEED + at), leftOut));
      const unmeant = new Set<string>();
      const complaints = new Set<string>();
      const kinds = new Map<string, number>();
      const count = (request: ApiRequest, answer: ApiAnswer): void => {
        const kind = answer.kind === 'answer' ? String(answer.status) : answer.kind;
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        const complaint = complaintOf(request, answer);
        if (complaint !== '') complaints.add(complaint);
        const { method, path, body } = request;
        if (isUnmeant(answer)) unmeant.add(`${method} ${path} ${body}: ${JSON.stringify(answer)}`);
      };
      let sent = 0;
      const sendUntil = async (until: number): Promise<void> => {
        const client = async (): Promise<void> => {
          while (sent < until) {
            const at = sent % generators.length;
            sent += 1;
            if (sent % (SWEEP_EVERY * generators.length) === 0) await sweep(); // the other clients go on
            const requests = generators[at]!;
            const request = requests.request();
            const answer = await sendApiRequest(sockets()[at]!, request);
            requests.learn(request, answer);
            count(request, answer);
          }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, client));
      };
      const rounds: { readonly sent: number; readonly holdings: readonly Holding[] }[] = [];
      while (sent < total) {
        await sendUntil(Math.min(sent + Math.ceil(total / ROUNDS), total));
        await sweep();
        if (rounds.length === ROUNDS / 2 - 1) await sleep(REST_MS);
        rounds.push({ sent, holdings: before.map(holdingOf) });
      }
      console.log(`seed ${SEED}: ${JSON.stringify(Object.fromEntries([...kinds].sort()))}`);
      for (const [at, { name }] of shared.current.hosts.entries()) {
        const told = rounds.map(({ holdings }) => holdings[at]!.residentKib);
        console.log(`${name}, KiB after each round: ${told.join(' ')}`);
      }
      expect.soft([...unmeant]).toEqual([]);
      expect.soft([...complaints]).toEqual([]);
      expect(await pids()).toEqual(before);
      const answered = [...kinds].filter(([kind]) => /^\d+$/.test(kind));
      const share = answered.reduce((sum, [, times]) => sum + times, 0) / total;
      expect(share).toBeGreaterThan(ANSWERED_MIN);
      const perThousand = (kind: string) => ((kinds.get(kind) ?? 0) * 1_000) / total;
      expect.soft(perThousand('204')).toBeGreaterThan(EMPTY_ANSWERS_MIN);
      expect.soft(perThousand('upgrade')).toBeGreaterThan(TAKE_OVERS_MIN);
      await shared.current.skep(['node', 'ls']);
      // The first half fills what is kept of the latest requests.
      const half = rounds.findLast((round) => round.sent <= total / 2)!;
      const allowedKib = MEMORY_NOISE_KIB + MEMORY_PER_REQUEST_MAX_KIB * (total - half.sent);
      for (const [at, { name }] of shared.current.hosts.entries()) {
        const was = half.holdings[at]!;
        await eventually(
          `nothing stays on ${name}`,
          () => {
            const now = holdingOf(before[at]!);
            expect(now.descriptors).toBeLessThan(was.descriptors + DESCRIPTORS_MORE_MAX);
            expect(now.residentKib).toBeLessThan(was.residentKib + allowedKib);
          },
          { withinMs: 30_000, everyMs: 500 },
        );
        const now = holdingOf(before[at]!);
        console.log(
          `${name}: ${JSON.stringify(was)} after half of them, ${JSON.stringify(now)} after all`,
        );
      }
    });
  },
);
