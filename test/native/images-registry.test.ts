// Pulling from a real registry (Debian's docker-registry) and from a server of our own that
// misbehaves in chosen ways. Root, because pulled layers are unpacked.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import {
  ImageStore,
  type ProgressLine,
  type RegistryAuth,
} from '../../worker/images/image-store.ts';
import { RegistryClient } from '../../worker/images/registry-client.ts';
import { RegistryEndpoint } from '../../worker/images/registry-endpoint.ts';
import { NO_PROXIES, ProxyRules } from '../../worker/images/registry-settings.ts';
import { eventually } from '../support/cluster.ts';
import { FaultyRegistry, json } from '../support/faulty-registry.ts';
import { buildBusyboxImage, sha256 } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  push,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { noTokens } from '../support/no-tokens.ts';
import { makeCertificates } from '../support/test-certificates.ts';

const isRoot = process.getuid?.() === 0;
const ALICE: RegistryAuth = { username: 'alice', password: 'secret' };

let dir: string;
let store: ImageStore;

async function openStore(): Promise<ImageStore> {
  const opened = new ImageStore({
    dir: join(dir, 'images'),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLogger,
    tell: () => {},
  });
  await opened.start();
  return opened;
}

beforeEach(async () => {
  dir = mkdtempSync('/var/tmp/skep-registry-');
  store = await openStore();
});

afterEach(async () => {
  await store.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function failure(promise: Promise<unknown>): Promise<{ code: string; text: string }> {
  const err = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  return { code: (err as { code: string }).code, text: describeError(err) };
}

describe.skipIf(!isRoot || !hasDockerRegistry || !hasSkopeo)(
  'pull from docker-registry (needs root, docker-registry, skopeo)',
  () => {
    let registryDir: string;
    let registry: TestRegistry;

    beforeAll(async () => {
      registryDir = mkdtempSync('/var/tmp/skep-registry-peer-');
      registry = await startRegistry({ dir: registryDir });
      const outTar = join(registryDir, 'image.tar');
      buildBusyboxImage({ name: 'web:1', outTar, files: { 'www/i': 'one' }, cmd: ['httpd'] });
      push(registry, outTar, 'web:1');
      buildBusyboxImage({ name: 'web:2', outTar, files: { 'www/i': 'two' } });
      push(registry, outTar, 'web:2', '--format', 'oci');
    });

    afterAll(async () => {
      await registry.stop();
      rmSync(registryDir, { recursive: true, force: true });
    });

    test('an image arrives whole and can be found by each of its names', async () => {
      const name = `${registry.host}/web:1`;
      const lines: ProgressLine[] = [];
      const image = await store.pull(name, null, (line) => lines.push(line));
      expect(image.repoTags).toEqual([name]);
      expect(image.repoDigests[0]).toMatch(/^127\.0\.0\.1:\d+\/web@sha256:[0-9a-f]{64}$/);
      expect(image.config.cmd).toEqual(['httpd']);
      const { lowerDirs } = await store.acquireRootfs('c1', image.id);
      expect(readFileSync(join(lowerDirs[0]!, 'www/i'), 'utf8')).toBe('one');
      const statuses = lines.map((line) => line.status);
      expect(statuses[0]).toBe('Pulling from web');
      expect(statuses).toContain('Download complete');
      expect(statuses.at(-1)).toBe(`Status: Downloaded newer image for ${name}`);

      const resolved = await store.resolveDigest(name, null);
      expect(image.repoDigests[0]).toBe(`${registry.host}/web@${resolved.digest}`);
      expect(resolved.platforms).toEqual([{ architecture: image.architecture, os: 'linux' }]);
      expect(resolved.mediaType).toMatch(/^application\/vnd\.(docker|oci)\..*manifest/);
      expect(resolved.sizeBytes).toBeGreaterThan(100);
      for (const other of [`${name}@${resolved.digest}`, image.id, image.id.slice(7, 19)]) {
        expect(store.get(other)?.id).toBe(image.id);
      }
      const again: ProgressLine[] = [];
      await store.pull(name, null, (line) => again.push(line));
      expect(again.at(-1)?.status).toBe(`Status: Image is up to date for ${name}`);
    });

    test('a pull by digest gives no tag; OCI manifests work; shared layers are not sent twice', async () => {
      await store.pull(`${registry.host}/web:1`, null);
      const { digest } = await store.resolveDigest(`${registry.host}/web:2`, null);
      const lines: ProgressLine[] = [];
      const pinned = `${registry.host}/web:2@${digest}`;
      const image = await store.pull(pinned, null, (line) => lines.push(line));
      expect(image.repoTags).toEqual([]);
      expect(store.get(pinned)?.id).toBe(image.id);
      expect(lines.filter((line) => line.status === 'Already exists')).toHaveLength(1);
      expect(lines.filter((line) => line.status === 'Download complete')).toHaveLength(1);
      expect(readdirSync(join(dir, 'images/l')).filter((n) => !n.includes('.'))).toHaveLength(3);
    });

    test('pulls at the same time share the downloads', async () => {
      const lines: ProgressLine[] = [];
      await Promise.all(
        [1, 2, 3, 4].map(() =>
          store.pull(`${registry.host}/web:1`, null, (line) => lines.push(line)),
        ),
      );
      expect(lines.filter((line) => line.status === 'Download complete')).toHaveLength(2);
    });

    test('the registry is quoted when it does not have the image', async () => {
      const { code, text } = await failure(store.pull(`${registry.host}/web:9`, null));
      expect(code).toBe('not-found');
      expect(text).toBe(`pull web:9 from ${registry.host}: manifest unknown: manifest unknown`);
      expect(store.list()).toEqual([]);
    });

    test('a registry that is not there is a connection error, quickly', async () => {
      const { code, text } = await failure(store.pull('127.0.0.1:1/web', null));
      expect(code).toBe('unavailable');
      expect(text).toContain('pull web:latest from 127.0.0.1:1');
      expect(text).toContain('ECONNREFUSED');
    });
  },
);

describe.skipIf(!isRoot || !hasDockerRegistry || !hasSkopeo)(
  'a registry with passwords and TLS (needs root, docker-registry, skopeo)',
  () => {
    let registryDir: string;
    let registry: TestRegistry;
    let authority: string;

    beforeAll(async () => {
      registryDir = mkdtempSync('/var/tmp/skep-registry-peer-');
      const { ca, certificate, key } = makeCertificates(registryDir);
      authority = ca;
      registry = await startRegistry({
        dir: registryDir,
        basicAuth: true,
        tls: { certificate, key },
      });
      const outTar = join(registryDir, 'image.tar');
      buildBusyboxImage({ name: 'web:1', outTar });
      push(registry, outTar, 'web:1', '--dest-creds', 'alice:secret');
    });

    afterAll(async () => {
      await registry.stop();
      rmSync(registryDir, { recursive: true, force: true });
    });

    test('the right password opens it', async () => {
      const image = await store.pull(`${registry.host}/web:1`, ALICE);
      expect(image.repoTags).toEqual([`${registry.host}/web:1`]);
    });

    test.each([
      ['no password', null],
      ['a wrong password', { username: 'alice', password: 'guess' }],
    ])('%s is unauthorized', async (_, auth) => {
      const { code, text } = await failure(store.pull(`${registry.host}/web:1`, auth));
      expect(code).toBe('unauthenticated');
      expect(text).toContain('unauthorized: authentication required');
      expect((await failure(store.resolveDigest(`${registry.host}/web:1`, auth))).code).toBe(
        'unauthenticated',
      );
    });

    test('its certificate is checked against the CA given for it', async () => {
      const trusting = join(dir, 'certs');
      mkdirSync(join(trusting, registry.host), { recursive: true });
      writeFileSync(join(trusting, registry.host, 'ca.crt'), readFileSync(authority));
      const manifestWith = async (certificateDirs: string[]): Promise<Buffer> => {
        const endpoint = new RegistryEndpoint({
          clock: new SystemClock(),
          host: registry.host,
          isInsecure: () => false,
          certificateDirs,
          scheme: null,
          proxies: new ProxyRules(NO_PROXIES),
        });
        try {
          const clock = new SystemClock();
          const asked = { domain: registry.host, exchange: noTokens, clock };
          const client = new RegistryClient({ ...asked, endpoint, repository: 'web', auth: ALICE });
          return await client.manifest('1');
        } finally {
          endpoint.close();
        }
      };
      expect(JSON.parse((await manifestWith([trusting])).toString()).schemaVersion).toBe(2);
      const { text } = await failure(manifestWith([]));
      expect(text).toContain('certificate signed by unknown authority "Test CA"');
    });
  },
);

describe.skipIf(!isRoot)('pull through trouble (needs root)', () => {
  let registry: FaultyRegistry;

  beforeEach(async () => {
    registry = new FaultyRegistry();
    await registry.start();
  });

  afterEach(() => registry.stop());

  const pull = (tag = '1', auth: RegistryAuth | null = null) =>
    store.pull(`${registry.host}/app:${tag}`, auth);

  test('of an index this machine gets its own platform', async () => {
    const image = await pull('multi');
    expect(image.id).toBe(sha256(registry.config));
    expect(image.repoDigests).toEqual([`${registry.host}/app@${sha256(registry.index)}`]);
    const resolved = await store.resolveDigest(`${registry.host}/app:multi`, null);
    const { platforms } = resolved;
    expect(resolved.mediaType).toBe('application/vnd.oci.image.index.v1+json');
    expect(resolved.sizeBytes).toBe(Buffer.from(registry.index).length);
    expect(platforms.map((p) => p.architecture)).toEqual(['s390x', image.architecture]);
  });

  test.each([
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  ])('a layer of type %s is refused before anything is fetched', async (mediaType) => {
    registry.hook = (request, response) => {
      if (request.url !== '/v2/app/manifests/1') return false;
      const manifest = JSON.parse(registry.manifest.toString());
      manifest.layers[0].mediaType = mediaType;
      response.end(json(manifest));
      return true;
    };
    const { code, text } = await failure(pull());
    expect(code).toBe('unimplemented');
    expect(text).toContain('is not distributed by the registry');
    expect(registry.requests.filter((url) => url.includes('/blobs/'))).toEqual([]);
  });

  test('a cut connection is taken up where it broke', async () => {
    const ranges: (string | undefined)[] = [];
    registry.hook = (request, response, earlier) => {
      if (request.url !== registry.blobUrl) return false;
      ranges.push(request.headers.range);
      if (earlier > 1) return false;
      const from = Number(/\d+/.exec(request.headers.range ?? '0')![0]);
      response.writeHead(from > 0 ? 206 : 200, { 'Content-Length': registry.layer.length - from });
      response.write(registry.layer.subarray(from, from + 100_000), () => {
        response.socket?.end();
      });
      return true;
    };
    const image = await pull();
    const offsets = ranges.map((range) => Number(/\d+/.exec(range ?? '0')![0]));
    expect(offsets).toHaveLength(3);
    expect(offsets[0]).toBe(0);
    expect(offsets[1]).toBeGreaterThan(0);
    expect(offsets[2]).toBeGreaterThan(offsets[1]!);
    const { lowerDirs } = await store.acquireRootfs('c1', image.id);
    expect(readFileSync(join(lowerDirs[0]!, 'hello'), 'utf8')).toBe('there');
  });

  test.each([500, 503, 429])('HTTP status %i is tried again', async (status) => {
    registry.hook = (request, response, earlier) => {
      if (request.url === '/v2/' || earlier > 0) return false;
      response.writeHead(status).end();
      return true;
    };
    await pull();
    expect(registry.requests.filter((url) => url === registry.blobUrl)).toHaveLength(2);
  });

  test('the pause that the registry asks for is kept, and one that is too long is not waited for', async () => {
    const timesMs: number[] = [];
    let pause = '1';
    registry.hook = (request, response, earlier) => {
      if (request.url !== registry.blobUrl) return false;
      timesMs.push(performance.now());
      if (pause === '1' && earlier > 0) return false;
      response.writeHead(429, { 'Retry-After': pause }).end();
      return true;
    };
    await pull();
    expect(timesMs).toHaveLength(2);
    expect(timesMs[1]! - timesMs[0]!).toBeGreaterThan(990);
    await store.remove(`${registry.host}/app:1`, { force: false });
    pause = '3600';
    expect((await failure(pull())).code).toBe('resource-exhausted');
    expect(timesMs).toHaveLength(3);
  });

  test('a registry that stays broken is reported in its words', async () => {
    registry.hook = (request, response) => {
      if (request.url === '/v2/') return false;
      const errors = [{ code: 'TOOMANYREQUESTS', message: 'slow down' }];
      response.writeHead(429, { 'Content-Type': 'application/json' }).end(json({ errors }));
      return true;
    };
    const { code, text } = await failure(pull());
    expect(code).toBe('resource-exhausted');
    expect(text).toBe(`pull app:1 from ${registry.host}: toomanyrequests: slow down`);
  });

  test.each([
    ['other bytes', (layer: Buffer) => Buffer.from(layer).fill(0x41, 100, 200), 'hashes to'],
    ['more bytes', (layer: Buffer) => Buffer.concat([layer, Buffer.alloc(9)]), 'longer than'],
    ['fewer bytes', (layer: Buffer) => layer.subarray(0, -9), 'shorter than'],
  ])('%s than announced are refused and not kept', async (_, spoil, words) => {
    registry.hook = (request, response) => {
      if (request.url !== registry.blobUrl) return false;
      response.writeHead(200).end(spoil(registry.layer));
      return true;
    };
    const { code, text } = await failure(pull());
    expect(code).toBe('data-loss');
    expect(text).toContain(words);
    expect(store.list()).toEqual([]);
    expect(readdirSync(join(dir, 'images/ingest'))).toEqual([]);
    expect(readdirSync(join(dir, 'images/blobs/sha256'))).not.toContain(
      sha256(registry.layer).slice(7),
    );
  });

  test('bearer tokens are fetched with the password, and again when they expire', async () => {
    const tokens: string[] = [];
    registry.hook = (request, response) => {
      const url = new URL(request.url ?? '', `http://${registry.host}`);
      if (url.pathname === '/token') {
        expect(request.headers.authorization).toBe(
          `Basic ${Buffer.from('alice:secret').toString('base64')}`,
        );
        expect(url.searchParams.get('scope')).toBe('repository:app:pull');
        expect(url.searchParams.get('service')).toBe('test registry');
        tokens.push(`token${tokens.length}`);
        response.end(json({ token: tokens.at(-1) }));
        return true;
      }
      // The blob wants a younger token than the one that the manifest was given for.
      const isExpired = request.url === registry.blobUrl && tokens.length < 2;
      if (!isExpired && request.headers.authorization === `Bearer ${tokens.at(-1)}`) return false;
      const challenge = `Bearer realm="http://${registry.host}/token",service="test registry",scope="repository:app:pull"`;
      response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
      return true;
    };
    await pull('1', ALICE);
    expect(tokens).toHaveLength(2);
  });

  test('a token that says when it ends is replaced before it does', async () => {
    const tokens: string[] = [];
    let refused = 0;
    registry.hook = (request, response) => {
      const url = new URL(request.url ?? '', `http://${registry.host}`);
      if (url.pathname === '/token') {
        tokens.push(`token${tokens.length}`);
        // With 4 s it is too near to its end for any further request.
        response.end(json({ access_token: tokens.at(-1), expires_in: 4 }));
        return true;
      }
      if (request.headers.authorization === `Bearer ${tokens.at(-1)}`) return false;
      refused++;
      const challenge = `Bearer realm="http://${registry.host}/token",service="r"`;
      response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
      return true;
    };
    await pull();
    expect(refused).toBe(2); // the look at the scheme, and the first request
    expect(tokens.length).toBeGreaterThan(2);
  });

  test('a login gives an identity token, which is used and replaced without the password', async () => {
    const asked: string[] = [];
    let current = 'identity0';
    registry.hook = (request, response) => {
      const url = new URL(request.url ?? '', `http://${registry.host}`);
      if (url.pathname === '/token') {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          const form = new URLSearchParams(request.method === 'POST' ? body : url.search);
          const used = form.get('refresh_token') ?? request.headers.authorization ?? '';
          const isOffline = [form.get('offline_token'), form.get('access_type')].some(Boolean);
          asked.push(`${request.method} ${used} ${isOffline}`);
          if (request.method === 'POST' && used !== current) {
            response.writeHead(401).end(json({ details: 'that token was used' }));
            return;
          }
          current = `identity${asked.length}`;
          response.end(json({ access_token: 'access', refresh_token: current }));
        });
        return true;
      }
      if (request.headers.authorization === 'Bearer access') return false;
      const challenge = `Bearer realm="http://${registry.host}/token",service="r"`;
      response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
      return true;
    };
    const first = await store.login(registry.host, ALICE);
    const basic = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
    expect(first).toBe('identity1');
    const user = { username: '', password: '', identityToken: first! };
    const second = await store.login(registry.host, user);
    expect(second).toBe('identity2');
    expect(asked).toEqual([`GET ${basic} true`, 'POST identity1 true']);
    const image = await pull('1', { ...user, identityToken: second! });
    expect(image.id).toBe(sha256(registry.config));
    // This node knows what stands for the first one now; of one that it never saw the registry knows.
    expect((await store.login(registry.host, user))!).toMatch(/^identity\d$/);
    const other = { ...user, identityToken: 'void' };
    const { text } = await failure(store.login(registry.host, other));
    expect(text).toBe(`log in to ${registry.host}: unauthorized: that token was used`);
  });

  test('a redirect to another host goes without the password', async () => {
    const seen: (string | undefined)[] = [];
    const other = http.createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(registry.layer);
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    registry.hook = (request, response) => {
      if (request.url === '/v2/') return false;
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
        return true;
      }
      if (request.url !== registry.blobUrl) return false;
      response.writeHead(307, { Location: `http://127.0.0.1:${port}/blob` }).end();
      return true;
    };
    try {
      await pull('1', ALICE);
      expect(seen).toEqual([undefined]);
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });

  describe('what a pull that ended in the middle left of a blob', () => {
    let ranges: (string | undefined)[];
    const partial = (): string =>
      join(dir, 'images/partial', sha256(registry.layer).slice('sha256:'.length));

    beforeEach(async () => {
      ranges = [];
      const abort = new AbortController();
      registry.hook = (request, response) => {
        if (request.url !== registry.blobUrl) return false;
        ranges.push(request.headers.range);
        if (ranges.length > 1) return false;
        response.writeHead(200).write(registry.layer.subarray(0, 100_000));
        return true;
      };
      const aborted = store.pull(`${registry.host}/app:1`, null, () => {}, abort.signal);
      const ended = expect(aborted).rejects.toThrow('enough');
      const sizeBytes = () => statSync(partial(), { throwIfNoEntry: false })?.size ?? 0;
      const hasAll = (): void => expect(sizeBytes()).toBeGreaterThanOrEqual(100_000);
      await eventually('what was sent is on disk', hasAll, { withinMs: 10_000, everyMs: 5 });
      abort.abort(new Error('enough'));
      await ended;
      await store.stop();
    });

    test('is not fetched again by the next daemon', async () => {
      store = await openStore();
      await pull();
      expect(ranges).toEqual([undefined, 'bytes=100000-']);
      expect(readdirSync(join(dir, 'images/partial'))).toEqual([]);
    });

    test('is left when it is damaged', async () => {
      writeFileSync(partial(), Buffer.alloc(100_000)); // as after a power cut
      store = await openStore();
      expect((await pull()).id).toBe(sha256(registry.config));
      expect(ranges).toEqual([undefined, 'bytes=100000-', undefined]);
    });

    test('may be all of it, or more than that', async () => {
      writeFileSync(partial(), registry.layer);
      store = await openStore();
      await pull();
      expect(ranges).toEqual([undefined]);
      await store.remove(`${registry.host}/app:1`, { force: true });
      writeFileSync(partial(), Buffer.concat([registry.layer, Buffer.from('more')]));
      await pull();
      expect(ranges).toEqual([undefined, undefined]);
    });

    test('goes when nobody wanted it for a day', async () => {
      const aDayAgo = Date.now() / 1000 - 25 * 3600;
      utimesSync(partial(), aDayAgo, aDayAgo);
      store = await openStore();
      expect(readdirSync(join(dir, 'images/partial'))).toEqual([]);
    });
  });

  test('an aborted pull ends at once, and the next one goes on', async () => {
    const abort = new AbortController();
    registry.hook = (request, response) => {
      if (request.url !== registry.blobUrl || abort.signal.aborted) return false;
      response.writeHead(200).write(registry.layer.subarray(0, 1000));
      abort.abort(new Error('enough'));
      return true;
    };
    const aborted = store.pull(`${registry.host}/app:1`, null, () => {}, abort.signal);
    await expect(aborted).rejects.toThrow('enough');
    expect((await pull()).repoTags).toEqual([`${registry.host}/app:1`]);
  });

  test('a cached blob of an interrupted pull is not fetched again after a restart', async () => {
    registry.hook = (request, response) => {
      if (request.url !== registry.blobUrl) return false;
      response.writeHead(404).end();
      return true;
    };
    await failure(pull());
    await store.stop();
    store = await openStore();
    registry.hook = () => false;
    await pull();
    const configUrl = `/v2/app/blobs/${sha256(registry.config)}`;
    expect(registry.requests.filter((url) => url === configUrl)).toHaveLength(1);
  });
});
