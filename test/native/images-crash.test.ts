// kill -9 in the middle of pulls, removals and prunes: what the store holds afterwards is whole, and goes on.
// Root, because images are unpacked.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom, SystemRandom } from '../../common/base/random.ts';
import { ImageStore, type Verified } from '../../worker/images/image-store.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { sha256 } from '../support/image-builder.ts';

const isRoot = process.getuid?.() === 0;
const SOURCE_ROOT = join(import.meta.dirname, '../..');
const KILLS = 12;
/** Longer than a pull, an unpack and a removal take, so that the kills fall everywhere. */
const LIFE_MS_MAX = 900;

describe.skipIf(!isRoot)('an image store whose daemon is killed (needs root)', () => {
  let dir: string;
  let registry: FaultyRegistry;

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/skep-crash-');
    registry = new FaultyRegistry();
    await registry.start();
    // Slowly, so that there is a middle.
    registry.hook = (request, response) => {
      if (request.url !== registry.blobUrl) return false;
      const from = Number(/\d+/.exec(request.headers.range ?? '0')![0]);
      response.writeHead(from > 0 ? 206 : 200);
      const drip = (at: number): void => {
        if (response.destroyed) return;
        if (at >= registry.layer.length) response.end();
        else
          response.write(registry.layer.subarray(at, at + 20_000), () =>
            setTimeout(drip, 5, at + 20_000),
          );
      };
      drip(from);
      return true;
    };
  });

  afterEach(async () => {
    await registry.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function open(): ImageStore {
    return new ImageStore({
      dir: join(dir, 'images'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    });
  }

  const script = (): string => {
    const at = (path: string): string => JSON.stringify(join(SOURCE_ROOT, path));
    return `
      import { SystemClock } from ${at('common/base/clock.ts')};
      import { silentLogger } from ${at('common/base/log.ts')};
      import { SystemRandom } from ${at('common/base/random.ts')};
      import { ImageStore } from ${at('worker/images/image-store.ts')};
      const store = new ImageStore({ dir: ${JSON.stringify(join(dir, 'images'))},
        clock: new SystemClock(), random: new SystemRandom(), log: silentLogger, tell: () => {} });
      await store.start();
      process.stdout.write('started');
      for (;;) {
        await store.pull('${registry.host}/app:1', null);
        await store.tag('${registry.host}/app:1', 'again:1');
        await store.remove('${registry.host}/app:1', { force: true });
        await store.prune(() => false);
        process.stdout.write('.');
      }
    `;
  };

  async function killAfter(path: string, lifeMs: number): Promise<void> {
    const child = spawn(process.execPath, ['--import', 'tsx', path], {
      cwd: SOURCE_ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
    await new Promise((resolve) => setTimeout(resolve, lifeMs));
    child.stdout.resume();
    child.kill('SIGKILL');
    await ended;
  }

  test(`is whole after each of ${KILLS} kills, and what is complete can be used`, async () => {
    const path = join(dir, 'worker.mts');
    writeFileSync(path, script());
    const seed = Date.now();
    const random = new SeededRandom(seed);
    for (let kill = 0; kill < KILLS; kill++) {
      await killAfter(path, random.unit() * LIFE_MS_MAX);
      const store = open();
      await store.start();
      try {
        const problems: Verified[] = [];
        for await (const seen of store.verify(new AbortController().signal)) {
          if (seen.problem !== null) problems.push(seen);
        }
        expect(problems, `seed ${seed}, kill ${kill}`).toEqual([]);
        for (const image of store.list()) {
          const { lowerDirs } = await store.acquireRootfs(`c${kill}`, image.id);
          expect(readFileSync(join(lowerDirs[0]!, 'hello'), 'utf8')).toBe('there');
          await store.releaseRootfs(`c${kill}`);
        }
      } finally {
        await store.stop();
      }
      expect(readdirSync(join(dir, 'images/ingest'))).toEqual([]);
    }
  }, 180_000);

  test('damage that no crash makes is found: other bytes, a blob or a layer that is gone', async () => {
    registry.hook = () => false;
    const store = open();
    await store.start();
    try {
      const { id } = await store.pull(`${registry.host}/app:1`, null);
      const found = async (): Promise<(string | null)[]> => {
        const problems: (string | null)[] = [];
        for await (const { subject, problem } of store.verify(new AbortController().signal)) {
          if (subject === id && problem !== null) problems.push(problem);
        }
        return problems;
      };
      expect(await found()).toEqual([]);
      const blob = join(dir, 'images/blobs/sha256', sha256(registry.layer).slice(7));
      const bytes = readFileSync(blob);
      writeFileSync(blob, Buffer.from(bytes).fill(7, 50, 60));
      expect(await found()).toEqual([`blob ${sha256(registry.layer)} is damaged`]);
      rmSync(blob);
      expect(await found()).toEqual([`blob ${sha256(registry.layer)} is missing`]);
      writeFileSync(blob, bytes);
      expect(existsSync(blob)).toBe(true);
      expect(await found()).toEqual([]);
    } finally {
      await store.stop();
    }
  });
});
