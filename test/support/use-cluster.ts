/** A development cluster as a fixture of a test file: started before, ended after, also on failure. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import {
  type ClusterRequest,
  endCluster,
  startCluster,
  type TestCluster,
  UP_LIMIT_MS,
} from './cluster.ts';

/**
 * One cluster for all tests of the surrounding `describe`, ended also after failures. A failed test
 * prints the ends of the daemons' logs.
 */
export function useCluster(
  prefix: string,
  request: ClusterRequest,
  prepare: (cluster: TestCluster) => Promise<void> = async () => {},
): { readonly current: TestCluster } {
  let cluster: TestCluster | null = null;
  beforeAll(async () => {
    cluster = await startCluster(prefix, request);
    await prepare(cluster);
  }, UP_LIMIT_MS);
  beforeEach((context) => {
    context.onTestFailed(() => {
      console.error(`${context.task.name}: the daemons' logs end with\n${cluster?.logTails()}`);
    });
  });
  afterAll(async () => {
    if (cluster) await endCluster(cluster);
  }, UP_LIMIT_MS);
  return {
    get current() {
      if (!cluster) throw new Error('the cluster was not started');
      return cluster;
    },
  };
}
