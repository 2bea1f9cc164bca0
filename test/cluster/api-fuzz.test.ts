// Requests by chance to every route of a real daemon: each is answered, as Docker's documents say where they are there, nothing that
// is not meant by 500; nothing ends it, nothing of them stays. SKEP_FUZZ_REQUESTS=100000 makes as many, SKEP_FUZZ_SEED=n the same ones again.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../common/base/random.ts';
import { type ApiAnswer, sendApiRequest } from '../support/api-answers.ts';
import { type ApiRequest, ApiRequests } from '../support/api-requests.ts';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { complaintOfText, isMeantFailure } from '../support/docker-swagger.ts';
import { useCluster } from '../support/use-cluster.ts';

const AT_ONCE = 16;
/** What the requests made is removed after so many: else lists grow, and with them all that is measured here. */
const ROUND = 500;
const REQUESTS = numberIn('SKEP_FUZZ_REQUESTS', 4_000, 2 * ROUND);
const SEED = numberIn('SKEP_FUZZ_SEED', Date.now() % 2 ** 32, 0);
const DESCRIPTORS_MORE_MAX = 20;
/** What a request may leave behind: a leak of one object of some fields each time is more. */
const MEMORY_PER_REQUEST_MAX_KIB = 1;
/** By which two measurements of a daemon differ that holds the same. */
const MEMORY_NOISE_KIB = 16 * 1024;
/** Of 1,000 requests, at least: what was made is met again, else most of them are for nothing that there is. */
const EMPTY_ANSWERS_MIN = 2;
/** Of the requests, at least: what is told of the others says nothing of them. */
const ANSWERED_MIN = 0.9;

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

describe.skipIf(!clusterTestsCanRun)(`requests by chance, seed ${SEED}`, () => {
  const shared = useCluster('fuzz', { managers: 1, workers: 0, logLevel: 'error' }, (cluster) =>
    cluster.image({ name: 'box:latest' }),
  );
  // The answers are judged here; many of the requests are none by which messages are told apart.
  const socketPath = () => shared.current.hosts[0]!.daemonSocket;
  const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
  const residentKib = (pid: number): number =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

  const json = async (path: string): Promise<unknown> => {
    const answer = await sendApiRequest(socketPath(), {
      method: 'GET',
      path,
      headers: {},
      body: null,
    });
    if (answer.kind !== 'answer' || answer.status !== 200)
      throw new Error(`${path}: ${JSON.stringify(answer)}`);
    return JSON.parse(answer.text);
  };

  /** All that the requests can have made goes, and the image that they may have removed is there again. */
  const sweep = async (): Promise<void> => {
    const ids = async (path: string): Promise<readonly string[]> =>
      ((await json(path)) as readonly { readonly ID?: string; readonly Id?: string }[]).map(
        ({ ID, Id }) => ID ?? Id ?? '',
      );
    const remove = (path: string) =>
      sendApiRequest(socketPath(), { method: 'DELETE', path, headers: {}, body: null });
    for (const kind of ['services', 'secrets', 'configs']) {
      for (const id of await ids(`/${kind}`)) await remove(`/${kind}/${id}`);
    }
    const filters = encodeURIComponent(JSON.stringify({ 'is-task': ['false'] }));
    for (const id of await ids(`/containers/json?all=1&filters=${filters}`)) {
      await remove(`/containers/${id}?force=1&v=1`);
    }
    for (const id of await ids('/networks')) await remove(`/networks/${id}`); // not those that stay
    const { Volumes } = (await json('/volumes')) as {
      readonly Volumes: readonly { Name: string }[];
    };
    for (const { Name } of Volumes) await remove(`/volumes/${encodeURIComponent(Name)}?force=1`);
    if ((await ids('/images/json')).length === 0)
      await shared.current.image({ name: 'box:latest' });
  };

  test(`${REQUESTS} of them`, { timeout: 60_000 + REQUESTS * 60 }, async () => {
    const pid = await shared.current.daemonPid('manager-1');
    const requests = new ApiRequests(new SeededRandom(SEED));
    const unmeant = new Set<string>();
    const complaints = new Set<string>();
    const kinds = new Map<string, number>();
    const count = (request: ApiRequest, answer: ApiAnswer): void => {
      const kind = answer.kind === 'answer' ? String(answer.status) : answer.kind;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      const complaint = complaintOf(request, answer);
      if (complaint !== '') complaints.add(complaint);
      const isBad =
        answer.kind === 'silent' ||
        answer.kind === 'dropped' ||
        ('status' in answer && answer.status === 500 && !isMeantFailure(answer.text));
      if (!isBad) return;
      const { method, path, body } = request;
      unmeant.add(`${method} ${path} ${body}: ${JSON.stringify(answer)}`);
    };
    let sent = 0;
    const sendUntil = async (total: number): Promise<void> => {
      const client = async (): Promise<void> => {
        while (sent < total) {
          sent += 1;
          const request = requests.request();
          const answer = await sendApiRequest(socketPath(), request);
          requests.learn(request, answer);
          count(request, answer);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, client));
    };
    const rounds: { readonly sent: number; descriptors: number; residentKib: number }[] = [];
    while (sent < REQUESTS) {
      await sendUntil(Math.min(sent + ROUND, REQUESTS));
      await sweep();
      rounds.push({ sent, descriptors: descriptors(pid), residentKib: residentKib(pid) });
    }
    // The first half fills what is kept of the latest requests.
    const before = rounds.findLast((round) => round.sent <= REQUESTS / 2)!;
    console.log(`seed ${SEED}: ${JSON.stringify(Object.fromEntries([...kinds].sort()))}`);
    console.log(`KiB after each round: ${rounds.map((round) => round.residentKib).join(' ')}`);
    expect.soft([...unmeant]).toEqual([]);
    expect.soft([...complaints]).toEqual([]);
    expect(await shared.current.daemonPid('manager-1')).toBe(pid);
    const answered = [...kinds].filter(([kind]) => /^\d+$/.test(kind));
    const share = answered.reduce((sum, [, times]) => sum + times, 0) / REQUESTS;
    expect(share).toBeGreaterThan(ANSWERED_MIN);
    const perThousand = (kind: string) => ((kinds.get(kind) ?? 0) * 1_000) / REQUESTS;
    expect.soft(perThousand('204')).toBeGreaterThan(EMPTY_ANSWERS_MIN);
    await shared.current.skep(['node', 'ls']);
    await eventually(
      'no descriptors stay',
      () => expect(descriptors(pid)).toBeLessThan(before.descriptors + DESCRIPTORS_MORE_MAX),
      { withinMs: 10_000 },
    );
    const allowedKib = MEMORY_NOISE_KIB + MEMORY_PER_REQUEST_MAX_KIB * (REQUESTS - before.sent);
    await eventually(
      'no memory stays',
      () => expect(residentKib(pid)).toBeLessThan(before.residentKib + allowedKib),
      { withinMs: 30_000, everyMs: 500 },
    );
    console.log(
      `memory: ${before.residentKib} KiB after half of them, ${residentKib(pid)} after all`,
    );
  });
});
