// Requests by chance to every route of a real daemon: nothing that is not meant answers 500, nothing ends it, nothing of them
// stays. SKEP_FUZZ_REQUESTS=100000 makes as many, SKEP_FUZZ_SEED=n the same ones again.
import { readdirSync, readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { describe, expect, test } from 'vitest';
import { type ApiRequest, ApiRequests } from '../support/api-requests.ts';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const REQUESTS = Number(process.env['SKEP_FUZZ_REQUESTS'] ?? 4_000);
const SEED = Number(process.env['SKEP_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const AT_ONCE = 16;
/** Streams and waits are left after so long. */
const PATIENCE_MS = 200;
/** What is meant to answer 500: Docker's own status of it. */
const MEANT = /update out of sequence/;
const DESCRIPTORS_MORE_MAX = 20;
/** Beside what the objects themselves that the requests made take. */
const MEMORY_MORE_MAX_KIB = 60 * 1024;

/** mulberry32: small, and the same everywhere. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe.skipIf(!clusterTestsCanRun)(`requests by chance, seed ${SEED}`, () => {
  const shared = useCluster('fuzz', { managers: 1, workers: 0, logLevel: 'error' }, (cluster) =>
    cluster.image({ name: 'box:latest' }),
  );

  /** Null = left while it went on, or the connection was closed, which is an answer to garbage. */
  const send = ({ method, path, headers, body }: ApiRequest) =>
    new Promise<{ status: number; text: string } | null>((resolve) => {
      const { socket: socketPath } = shared.current.hosts[0]!;
      let sent: ClientRequest;
      try {
        sent = httpRequest({ socketPath, method, path, headers, agent: false });
      } catch {
        resolve(null); // Node does not send it
        return;
      }
      const timer = setTimeout(() => sent.destroy(), PATIENCE_MS);
      const end = (answer: { status: number; text: string } | null): void => {
        clearTimeout(timer);
        resolve(answer);
      };
      sent.on('upgrade', (_, socket) => {
        socket.destroy();
        end(null);
      });
      sent.on('response', (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.once('end', () => end({ status: response.statusCode ?? 0, text }));
        response.on('error', () => end(null));
      });
      sent.on('error', () => end(null));
      sent.on('close', () => end(null));
      sent.end(body ?? undefined);
    });

  const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
  const residentKib = (pid: number): number =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

  test(`${REQUESTS} of them`, { timeout: 60_000 + REQUESTS * 60 }, async () => {
    const pid = await shared.current.daemonPid('manager-1');
    const requests = new ApiRequests(numbers(SEED));
    const unmeant = new Set<string>();
    let count = 0;
    const sendSome = async (total: number): Promise<void> => {
      const client = async (): Promise<void> => {
        while (count < total) {
          count += 1;
          const request = requests.request();
          const answer = await send(request);
          if (answer?.status !== 500 || MEANT.test(answer.text)) continue;
          unmeant.add(`${request.method} ${request.path} ${request.body}: ${answer.text.trim()}`);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, client));
    };
    await sendSome(REQUESTS / 2);
    const before = { descriptors: descriptors(pid), residentKib: residentKib(pid) };
    await sendSome(REQUESTS);
    expect.soft([...unmeant]).toEqual([]);
    expect(await shared.current.daemonPid('manager-1')).toBe(pid);
    await shared.current.skep(['node', 'ls']);
    await eventually(
      'no descriptors stay',
      () => expect(descriptors(pid)).toBeLessThan(before.descriptors + DESCRIPTORS_MORE_MAX),
      { withinMs: 10_000 },
    );
    expect(residentKib(pid)).toBeLessThan(before.residentKib + MEMORY_MORE_MAX_KIB);
  });
});
