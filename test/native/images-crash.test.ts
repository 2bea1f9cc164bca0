// kill -9 of a daemon in the middle of pulls, loads, unpacks, removals, prunes and the removal of what a full disk has no room
// for, all at once: what the next one finds is whole, goes on, and what was complete runs. SKEP_PROOFS=full kills a hundred
// times. Root, because containers are run.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { framesOf } from '../../cli/client/frames.ts';
import type { ProgressJson } from '../../cli/client/image-calls.ts';
import { hasStatus } from '../../cli/client/transport.ts';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom, SystemRandom } from '../../common/base/random.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { eventually, REPOSITORY } from '../support/cluster.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { freePort } from '../support/free-port.ts';
import { buildBusyboxImage, busyboxPath, sha256 } from '../support/image-builder.ts';

const isRoot = process.getuid?.() === 0;
const KILLS = process.env['SKEP_PROOFS'] === 'full' ? 100 : 25;
/** Archives: images of even numbers stay once they are loaded, the others come and go. */
const ARCHIVES = 6;
/** Of the time that a first image takes, so that the kills fall everywhere. */
const LIVES_MAX = 1.5;
/** The disk is always too full, and nothing too young: whenever something came, images that no service wants are removed. */
const IMAGE_GC = '1:0:0s';
/** Above the watermark. */
const FULLNESS_MIN = 0.011;
/** Between two looks at whether an image is gone, ms. */
const LOOK_MS = 5;
/** What the daemon logs of a removal of images to make room. */
const MADE_ROOM = /^.*"removed":[1-9].*disk was filling, unused images were removed.*$/gm;
/** Of a download that the next life goes on with. */
const KILL_IN_THE_MIDDLE = 1;
/** Each third one falls when an image has just gone to make room, and its files are going. */
const KILL_PERIOD = 3;
/** Of a daemon on a machine of many readers. */
const BEGIN_LIMIT_MS = 180_000;
const LOG_CHARACTERS_SHOWN = 5_000;
/** Control groups are the machine's, process ids those of a private one. */
const CGROUP_PARENT = `skep-crash-${Date.now().toString(36)}-${process.pid}`;

/** One life of a daemon. */
interface Life {
  readonly process: ChildProcess;
  readonly ended: Promise<void>;
  readonly client: EngineClient;
}

let dir: string;
/** of the image that a service wants */
let registry: FaultyRegistry;

beforeEach(async () => {
  dir = mkdtempSync('/var/tmp/skep-crash-');
  fill(join(dir, 'ballast'));
  registry = new FaultyRegistry();
  await registry.start();
});

afterEach(async () => {
  await registry.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** So much of the disk is in use as on any machine: of one in memory, which a private machine has, nearly none is. */
function fill(path: string): void {
  const { blocks, bfree, bsize } = statfsSync(dir);
  const lacking = Math.ceil(blocks * FULLNESS_MIN) - (blocks - bfree);
  if (lacking > 0) writeFileSync(path, Buffer.alloc(lacking * bsize));
}

describe.skipIf(!isRoot)('a daemon that is killed (needs root)', () => {
  let life: Life | null = null;
  /** of images that nobody wants: they go as soon as something comes */
  const unwanted = new FaultyRegistry({ moreLayers: 3 });
  let clusterPort: number;

  beforeEach(async () => {
    await unwanted.start();
    clusterPort = await freePort();
  });

  const host = (): string => `unix://${dir}/api.sock`;

  async function begin(): Promise<Life> {
    const log = openSync(join(dir, 'log'), 'a');
    const argv = ['--data-dir', join(dir, 'data'), '--host', host(), '--image-gc', IMAGE_GC];
    const cluster = ['--listen-addr', `127.0.0.1:${clusterPort}`, '--advertise-addr', '127.0.0.1'];
    const child = spawn(
      join(REPOSITORY, 'bin/skepd'),
      [...argv, ...cluster, '--cgroup-parent', CGROUP_PARENT],
      { stdio: ['ignore', log, log] },
    );
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const client = new EngineClient(host());
    life = { process: child, ended, client };
    const answers = eventually('the daemon answers', () => client.ping(), {
      withinMs: BEGIN_LIMIT_MS,
      everyMs: 20,
    });
    const endedFirst = ended.then(() => {
      throw new Error('the daemon ended before it answered');
    });
    await Promise.race([answers, endedFirst]);
    return life;
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (life === null) return;
    life.process.kill(signal);
    await life.ended;
    life.client.close();
    life = null;
  }

  /** A cluster of this node alone: its services say which images are wanted. */
  async function formCluster({ client }: Life): Promise<void> {
    const ListenAddr = `127.0.0.1:${clusterPort}`;
    await client.swarmInit({
      ...{ ListenAddr, AdvertiseAddr: '127.0.0.1', DataPathAddr: '', DataPathPort: 0 },
      ...{ ForceNewCluster: false, AutoLockManagers: false, Availability: 'active' },
      ...{ DefaultAddrPool: [], SubnetSize: 24, Spec: {} },
    });
    const Image = `${registry.host}/app:1`;
    await client.serviceCreate({
      Name: 'wants',
      Mode: { Replicated: { Replicas: 0 } },
      TaskTemplate: { ContainerSpec: { Image } },
    });
  }

  afterEach(async (context) => {
    const log = readFileSync(join(dir, 'log'), 'utf8').slice(-LOG_CHARACTERS_SHOWN);
    context.onTestFailed(() => console.error(`the daemon's log ends with\n${log}`));
    const { client } = life ?? (await begin());
    await client.swarmLeave(true); // its networks go
    await end('SIGTERM');
    await unwanted.stop();
  });

  afterAll(() => {
    const root = '/sys/fs/cgroup';
    for (const parent of [root, ...readdirSync(root).map((name) => `${root}/${name}`)]) {
      if (existsSync(`${parent}/${CGROUP_PARENT}`)) rmdirSync(`${parent}/${CGROUP_PARENT}`);
    }
  });

  /** requests for the rest of the layer */
  let resumed = 0;
  let toldMiddle: () => void = () => {};
  let toldGoing: () => void = () => {};

  /** Of a download: half of the layer is on its way. */
  const inTheMiddle = (): Promise<void> =>
    new Promise((resolve) => {
      toldMiddle = resolve;
    });

  const going = (): Promise<void> =>
    new Promise((resolve) => {
      toldGoing = resolve;
    });

  /** Slowly, so that there is a middle. */
  function drip(): void {
    registry.hook = (request, response) => {
      if (request.url !== registry.blobUrl) return false;
      const from = Number(/\d+/.exec(request.headers.range ?? '0')![0]);
      if (from > 0) resumed++;
      response.writeHead(from > 0 ? 206 : 200);
      const next = (at: number): void => {
        if (response.destroyed) return;
        if (at > registry.layer.length / 2) toldMiddle();
        if (at >= registry.layer.length) response.end();
        else
          response.write(registry.layer.subarray(at, at + 20_000), () =>
            setTimeout(next, 5, at + 20_000),
          );
      };
      next(from);
      return true;
    };
  }

  async function followed(lines: AsyncIterable<ProgressJson>): Promise<void> {
    for await (const { error } of lines) if (error !== undefined) throw new Error(error);
  }

  /** Goes on until it is killed. @param onKept told the numbers of images that stay, when they are complete */
  async function work(client: EngineClient, onKept: (number: number) => void): Promise<void> {
    const name = `${registry.host}/app`;
    const stranger = `${unwanted.host}/app`;
    const isThere = async (reference: string): Promise<boolean> =>
      client.image(reference).then(
        () => true,
        (err: unknown) => {
          if (hasStatus(err, 404)) return false;
          throw err;
        },
      );
    const strangers = async (): Promise<never> => {
      for (;;) {
        await followed(client.imagePull(stranger, '1'));
        while (await isThere(`${stranger}:1`)) await sleep(LOOK_MS);
        toldGoing();
      }
    };
    const pulls = async (): Promise<never> => {
      for (;;) {
        await followed(client.imagePull(name, '1'));
        await client.imageTag(`${name}:1`, 'again', '1');
        await client.imageRemove(`${name}:1`, true);
        await client.imagesPrune({ dangling: ['false'], 'label!': ['kept'] });
      }
    };
    const loads = async (): Promise<never> => {
      for (let i = 0; ; i = (i + 1) % ARCHIVES) {
        await followed(client.imageLoad(createReadStream(join(dir, `${i}.tar`))));
        if (i % 2 === 0) onKept(i);
        else await client.imageRemove(`kept:${i}`, true);
      }
    };
    await Promise.all([pulls(), strangers(), loads()]);
  }

  /** What a container of this image prints, which is gone afterwards. */
  async function saidBy(
    client: EngineClient,
    image: string,
    argv: readonly string[],
    binds: readonly string[],
  ): Promise<string> {
    const HostConfig = { NetworkMode: 'none', Binds: binds };
    const { Id } = await client.containerCreate(undefined, { Image: image, Cmd: argv, HostConfig });
    const exited = await client.containerWait(Id, 'next-exit');
    await client.containerDo(Id, 'start');
    expect(await exited()).toBe(0);
    let text = '';
    const logs = await client.logs('containers', Id, {});
    for await (const { data } of framesOf(logs)) text += data.toString();
    await client.containerRemove(Id, { force: true });
    return text;
  }

  /** A kept image's own program says its number; what is pulled has none, so it is given one. */
  async function runs({ Id, RepoTags }: { Id: string; RepoTags?: readonly string[] | null }) {
    const number = /kept:(\d)/.exec((RepoTags ?? []).join(' '))?.[1];
    const [binds, argv, file, said] =
      number === undefined
        ? [[`${busyboxPath()}:/busybox:ro`], ['/busybox', 'cat', '/hello'], 'hello', 'there']
        : [[], ['/bin/cat', '/number'], 'number', number];
    const { GraphDriver } = (await life!.client.image(Id)) as {
      GraphDriver: { Data: { UpperDir: string; LowerDir?: string } };
    };
    const { UpperDir, LowerDir = '' } = GraphDriver.Data;
    const layers = [UpperDir, ...LowerDir.split(':').filter(Boolean)];
    const lies = layers.map((layer) => join(layer, file)).find(existsSync);
    expect(lies && readFileSync(lies, 'utf8'), RepoTags?.join()).toBe(said);
    expect(await saidBy(life!.client, Id, argv, binds)).toBe(said);
  }

  test(
    `leaves a store that is whole, ${KILLS} times, and what was complete runs`,
    async () => {
      for (let i = 0; i < ARCHIVES; i++) {
        const files = { number: String(i), much: Buffer.alloc(200_000, i) };
        const outTar = join(dir, `${i}.tar`);
        buildBusyboxImage({ name: `kept:${i}`, outTar, files, labels: { kept: 'yes' } });
      }
      drip();
      const kept = new Set<number>();
      const seed = Date.now();
      const random = new SeededRandom(seed);
      let firstImageMs: number | null = null;
      await formCluster(await begin());
      await end('SIGTERM');
      for (let kill = 0; kill <= KILLS; kill++) {
        const { client } = await begin();
        await eventually('the cluster has its leader', () => client.services(), {
          withinMs: 30_000,
          everyMs: 20,
        });
        const told = `seed ${seed}, kill ${kill}`;
        const ingest = join(dir, 'data/images/ingest'); // what was moved aside goes in the background
        await eventually(told, () => expect(readdirSync(ingest)).toEqual([]), {
          withinMs: 10_000,
          everyMs: 20,
        });
        await followed(client.imagesVerify()).catch((cause) => {
          throw new Error(`verify, ${told}`, { cause });
        });
        const images = await client.images();
        const tags = images.flatMap(({ RepoTags }) => RepoTags ?? []);
        expect(tags, told).toEqual(expect.arrayContaining([...kept].map((n) => `kept:${n}`)));
        await Promise.all(images.map(runs));
        if (kill === KILLS) break;
        if (kill === KILL_IN_THE_MIDDLE + 1) {
          const before = resumed;
          await followed(client.imagePull(`${registry.host}/app`, '1'));
          expect(resumed, 'downloads that were gone on with').toBeGreaterThan(before);
        }
        const beganMs = performance.now();
        let isKilled = false;
        const worked = work(client, (number) => {
          if (!isKilled) kept.add(number);
        }).catch((err: unknown) => {
          if (!isKilled) throw err;
        });
        const until =
          firstImageMs === null
            ? eventually('an image is complete', () => expect(kept.size).toBe(1), {
                withinMs: 60_000,
                everyMs: 5,
              })
            : kill === KILL_IN_THE_MIDDLE
              ? inTheMiddle()
              : kill % KILL_PERIOD === KILL_PERIOD - 1
                ? going()
                : new Promise((resolve) =>
                    setTimeout(resolve, random.unit() * LIVES_MAX * firstImageMs!),
                  );
        await Promise.race([until, worked]);
        firstImageMs ??= performance.now() - beganMs;
        isKilled = true;
        await end('SIGKILL');
        await worked;
      }
      // On a busy machine each life may have ended before it came to the end of one.
      await followed(life!.client.imagePull(`${unwanted.host}/app`, '1'));
      await eventually(
        'removals to make room',
        () => expect(readFileSync(join(dir, 'log'), 'utf8').match(MADE_ROOM)).not.toBeNull(),
        { withinMs: 60_000 },
      );
      await life!.client.imagesPrune({ dangling: ['false'] });
      await end('SIGTERM'); // what was moved aside is removed by then
      for (const place of ['l', 'ingest', 'pins']) {
        expect(readdirSync(join(dir, 'data/images', place)), place).toEqual([]);
      }
    },
    KILLS * 60_000,
  );
});

describe.skipIf(!isRoot)('an image store (needs root)', () => {
  function open(): ImageStore {
    return new ImageStore({
      dir: join(dir, 'images'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    });
  }

  test('damage that no crash makes is found: other bytes, a blob or a layer that is gone', {
    timeout: 120_000,
  }, async () => {
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
