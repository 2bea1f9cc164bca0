/**
 * A development cluster as a fixture of a test file: started before, ended after, also on failure. Whatever its daemons' APIs answer
 * meanwhile is held against Docker's documents.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  type ClusterRequest,
  endCluster,
  startCluster,
  TestCluster,
  UP_LIMIT_MS,
} from './cluster.ts';
import { swaggerMinors } from './docker-swagger.ts';
import { ValidatingProxy } from './validating-proxy.ts';

/** Of a test's own preparation: on a busy machine three managers need so long to start again one after another. */
const PREPARE_LIMIT_MS = 180_000;

export interface SharedCluster {
  readonly current: TestCluster;
  /** @see ValidatingProxy.timesBegun, of all hosts together */
  timesBegun(method: string, path: string): number;
  /**
   * Adds the test that so many answers and more were held against the documents, and were as they say; the last one of its
   * `describe`. Those of other files fail their file.
   */
  testAnswers(judgedMin: number): void;
}

/**
 * One cluster for all tests of the surrounding `describe`, ended also after failures. A failed test
 * prints the ends of the daemons' logs.
 */
export function useCluster(
  prefix: string,
  request: ClusterRequest,
  prepare: (cluster: TestCluster) => Promise<void> = async () => {},
): SharedCluster {
  let cluster: TestCluster | null = null;
  let dir: string | null = null;
  const proxies: ValidatingProxy[] = [];
  const complaints = (): string[] => proxies.flatMap((proxy) => [...proxy.complaints]);
  beforeAll(async () => {
    cluster = await startCluster(prefix, request);
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    const hosts = cluster.hosts.map((host) => ({ ...host, socket: join(dir!, host.name) }));
    for (const { socket, daemonSocket } of hosts) {
      const proxy = new ValidatingProxy(socket, daemonSocket);
      await proxy.start();
      proxies.push(proxy);
    }
    cluster = new TestCluster(cluster.name, hosts);
  }, UP_LIMIT_MS);
  beforeAll(async () => {
    if (cluster) await prepare(cluster);
  }, PREPARE_LIMIT_MS);
  beforeEach((context) => {
    context.onTestFailed(() => {
      console.error(`${context.task.name}: the daemons' logs end with\n${cluster?.logTails()}`);
    });
  });
  afterAll(async () => {
    for (const proxy of proxies) await proxy.stop();
    if (dir) rmSync(dir, { recursive: true });
    if (cluster) await endCluster(cluster);
    expect(complaints(), "answers that are not as Docker's documents say").toEqual([]);
  }, UP_LIMIT_MS);
  const title = "all answers are as Docker's documents say";
  const hasDocuments = swaggerMinors.length > 0;
  return {
    get current() {
      if (!cluster) throw new Error('the cluster was not started');
      return cluster;
    },
    timesBegun: (method, path) =>
      proxies.reduce((sum, proxy) => sum + proxy.timesBegun(method, path), 0),
    testAnswers: (judgedMin) =>
      test.skipIf(!hasDocuments)(
        hasDocuments ? title : `${title} (skipped: the documents are not there)`,
        () => {
          expect(complaints()).toEqual([]);
          const judged = proxies.reduce((sum, proxy) => sum + proxy.judged, 0);
          expect(judged).toBeGreaterThan(judgedMin);
        },
      ),
  };
}
