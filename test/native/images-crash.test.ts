// kill -9 in the middle of pulls, loads, unpacks, removals and prunes, all at once: what the store holds afterwards is
// whole, goes on, and what was complete runs. Root, because images are unpacked and run.
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom, SystemRandom } from '../../common/base/random.ts';
import { ImageStore, type Verified } from '../../worker/images/image-store.ts';
import { eventually } from '../support/cluster.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { buildBusyboxImage, sha256 } from '../support/image-builder.ts';

const isRoot = process.getuid?.() === 0;
const SOURCE_ROOT = join(import.meta.dirname, '../..');
/** `SKEP_TEST_KILLS=100` for the long proof. */
const KILLS = Number(process.env['SKEP_TEST_KILLS'] ?? 12);
/** Archives: images of even numbers stay once they are loaded, the others come and go. */
const ARCHIVES = 6;
/** Of the time that a first image takes, so that the kills fall everywhere. */
const LIVES_MAX = 1.5;

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
      import { createReadStream } from 'node:fs';
      import { SystemClock } from ${at('common/base/clock.ts')};
      import { silentLogger } from ${at('common/base/log.ts')};
      import { SystemRandom } from ${at('common/base/random.ts')};
      import { ImageStore } from ${at('worker/images/image-store.ts')};
      const store = new ImageStore({ dir: ${JSON.stringify(join(dir, 'images'))},
        clock: new SystemClock(), random: new SystemRandom(), log: silentLogger, tell: () => {} });
      await store.start();
      process.stdout.write('started');
      const pulls = async () => {
        for (;;) {
          await store.pull('${registry.host}/app:1', null);
          await store.tag('${registry.host}/app:1', 'again:1');
          await store.remove('${registry.host}/app:1', { force: true });
          await store.prune((image) => image.repoTags.some((tag) => tag.startsWith('kept')));
          process.stdout.write('.');
        }
      };
      const loads = async () => {
        for (let i = 0; ; i = (i + 1) % ${ARCHIVES}) {
          await store.load(createReadStream(${JSON.stringify(dir)} + '/' + i + '.tar'));
          if (i % 2 === 0) process.stdout.write('<' + i + '>');
          else await store.remove('kept:' + i, { force: true });
        }
      };
      await Promise.all([pulls(), loads()]);
    `;
  };

  /** What it said of images that are complete. @param lifeMs null = until it has one */
  async function killAfter(path: string, lifeMs: number | null): Promise<string> {
    const child = spawn(process.execPath, ['--import', 'tsx', path], {
      cwd: SOURCE_ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      const look = (): void => expect(said !== '' || child.exitCode !== null).toBe(true);
      await eventually('it begins', look, { withinMs: 60_000, everyMs: 5 });
      expect(child.exitCode, 'it ended by itself').toBeNull();
      if (lifeMs !== null) await new Promise((resolve) => setTimeout(resolve, lifeMs));
      else {
        const isComplete = (): void => expect(said).toContain('>');
        await eventually('an image is complete', isComplete, { withinMs: 60_000 });
      }
    } finally {
      child.kill('SIGKILL');
      await closed;
    }
    expect(child.signalCode, 'it ended by itself').toBe('SIGKILL');
    return said;
  }

  /** The image's own program says its number, in its own root. */
  function runs(lowerDirs: readonly string[]): string {
    const root = join(dir, 'root');
    mkdirSync(root, { recursive: true });
    const options = `lowerdir=${[...lowerDirs, join(dir, 'nothing')].join(':')}`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, root]);
    try {
      return execFileSync('chroot', [root, '/bin/cat', '/number']).toString();
    } finally {
      execFileSync('umount', [root]);
    }
  }

  test(
    `is whole after each of ${KILLS} kills, and what is complete can be used`,
    async () => {
      const path = join(dir, 'worker.mts');
      writeFileSync(path, script());
      mkdirSync(join(dir, 'nothing')); // overlayfs wants two lower folders where there is no upper one
      for (let i = 0; i < ARCHIVES; i++) {
        const files = { number: String(i), much: Buffer.alloc(200_000, i) };
        buildBusyboxImage({ name: `kept:${i}`, outTar: join(dir, `${i}.tar`), files });
      }
      const complete = new Set<string>();
      const seed = Date.now();
      const random = new SeededRandom(seed);
      let firstImageMs: number | null = null;
      for (let kill = 0; kill < KILLS; kill++) {
        const beganMs = performance.now();
        const lifeMs = firstImageMs && random.unit() * LIVES_MAX * firstImageMs;
        const said = await killAfter(path, lifeMs);
        firstImageMs ??= performance.now() - beganMs;
        for (const [, number] of said.matchAll(/<(\d)>/g)) complete.add(number!);
        const store = open();
        await store.start();
        try {
          const problems: Verified[] = [];
          for await (const seen of store.verify(new AbortController().signal)) {
            if (seen.problem !== null) problems.push(seen);
          }
          expect(problems, `seed ${seed}, kill ${kill}`).toEqual([]);
          for (const number of complete) {
            expect(store.get(`kept:${number}`), `seed ${seed}, kill ${kill}`).toBeDefined();
          }
          for (const image of store.list()) {
            const { lowerDirs } = await store.acquireRootfs(`c${kill}`, image.id);
            const kept = /kept:(\d)/.exec(image.repoTags.join(' '))?.[1];
            if (kept !== undefined) expect(runs(lowerDirs)).toBe(kept);
            else expect(readFileSync(join(lowerDirs[0]!, 'hello'), 'utf8')).toBe('there');
            await store.releaseRootfs(`c${kill}`);
          }
        } finally {
          await store.stop();
        }
        expect(readdirSync(join(dir, 'images/ingest'))).toEqual([]);
      }
    },
    KILLS * 30_000,
  );

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
