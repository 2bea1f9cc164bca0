/** Sockets of a cluster's daemons on which each answer is held against Docker's documents, as a fixture of a test file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestCluster } from './cluster.ts';
import { swaggerMinors } from './docker-swagger.ts';
import { ValidatingProxy } from './validating-proxy.ts';

export interface Validation {
  /** in place of the daemon's own; default: of the first host */
  socket(host?: string): string;
  /** @see ValidatingProxy.hasBegun, on any of them */
  hasBegun(method: string, path: string): boolean;
  /** Adds the test that all answers were as they are described; the last one of its `describe`. */
  testAnswers(judgedMin: number): void;
}

/** After `useCluster`. */
export function useValidation(shared: { readonly current: TestCluster }): Validation {
  let dir: string;
  const proxies = new Map<string, ValidatingProxy>();
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    for (const { name, socket } of shared.current.hosts) {
      const proxy = new ValidatingProxy(join(dir, `${name}.sock`), socket);
      await proxy.start();
      proxies.set(name, proxy);
    }
  });
  afterAll(async () => {
    for (const proxy of proxies.values()) await proxy.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const title = "all answers are as Docker's documents say";
  const hasDocuments = swaggerMinors.length > 0;
  return {
    socket: (host = shared.current.hosts[0]!.name) => {
      const proxy = proxies.get(host);
      if (!proxy) throw new Error(`no socket of ${host}`);
      return proxy.socketPath;
    },
    hasBegun: (method, path) => [...proxies.values()].some((proxy) => proxy.hasBegun(method, path)),
    testAnswers: (judgedMin) =>
      test.skipIf(!hasDocuments)(
        hasDocuments ? title : `${title} (skipped: the documents are not there)`,
        () => {
          const all = [...proxies.values()];
          expect(all.flatMap(({ complaints }) => [...complaints])).toEqual([]);
          expect(all.reduce((sum, { judged }) => sum + judged, 0)).toBeGreaterThan(judgedMin);
        },
      ),
  };
}
