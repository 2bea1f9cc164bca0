// The ways to a registry: mirrors, proxies, folders with authorities and client certificates. Docker's
// registry is the peer; a proxy that leads every name to it stands for the internet. Root, because
// pulled layers are unpacked.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { ImageStore, NO_PROXIES, type RegistrySettings } from '../../worker/images/image-store.ts';
import { type ConnectProxy, startProxy } from '../support/connect-proxy.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { buildBusyboxImage, layerTar, sha256 } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  push,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { makeCertificates, type TestCertificates } from '../support/test-certificates.ts';

const isRoot = process.getuid?.() === 0;

let dir: string;
let store: ImageStore | null = null;

beforeEach(() => {
  dir = mkdtempSync('/var/tmp/skep-registry-');
});

afterEach(async () => {
  await store?.stop();
  store = null;
  rmSync(dir, { recursive: true, force: true });
});

async function open(registries: Partial<RegistrySettings>): Promise<ImageStore> {
  store = new ImageStore({
    dir: join(dir, 'images'),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLogger,
    tell: () => {},
    registries,
  });
  await store.start();
  return store;
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'it succeeded', describeError);
}

describe.skipIf(!isRoot)('mirrors (needs root)', () => {
  const servers: FaultyRegistry[] = [];
  const start = async (): Promise<FaultyRegistry> => {
    const server = new FaultyRegistry();
    await server.start();
    servers.push(server);
    return server;
  };

  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop();
  });

  test('a dead mirror is passed over, a broken one too, and the next one serves', async () => {
    const [broken, good] = [await start(), await start()];
    broken.hook = (_, response) => {
      response.writeHead(404).end();
      return true;
    };
    const mirrors = ['http://127.0.0.1:1', `http://${broken.host}`, `http://${good.host}`];
    const images = await open({ mirrors: mirrors.map((url) => `origin.example=${url}`) });
    const image = await images.pull('origin.example/app:1', {
      username: 'alice',
      password: 'secret',
    });
    expect(image.repoTags).toEqual(['origin.example/app:1']);
    expect(broken.requests).toContain('/v2/app/manifests/1');
    expect(good.requests).toContain(good.blobUrl);
  });

  test('what a mirror spoils comes from the registry itself; the password goes to that alone', async () => {
    const [liar, origin] = [await start(), await start()];
    const seen: (string | undefined)[] = [];
    liar.hook = (request, response) => {
      seen.push(request.headers.authorization);
      if (request.url !== liar.blobUrl) return false;
      response.end(Buffer.alloc(liar.layer.length));
      return true;
    };
    origin.hook = (request, response) => {
      if (request.headers.authorization !== undefined || request.url === '/v2/') return false;
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    const images = await open({ mirrors: [`${origin.host}=http://${liar.host}`] });
    await images.pull(`${origin.host}/app:1`, { username: 'alice', password: 'secret' });
    expect(liar.requests).toContain(liar.blobUrl);
    expect(origin.requests).toContain(origin.blobUrl);
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });

  test('when all fail the words of the registry itself are told', async () => {
    const origin = await start();
    const images = await open({ mirrors: [`${origin.host}=http://127.0.0.1:1`] });
    expect(await failure(images.pull(`${origin.host}/app:9`, null))).toBe(
      `pull app:9 from ${origin.host}: not found`,
    );
  });
});

describe.skipIf(!isRoot || !hasDockerRegistry || !hasSkopeo)(
  'a registry with TLS behind a proxy (needs root, docker-registry, skopeo)',
  () => {
    const NAME = 'registry.example:5000';
    let peerDir: string;
    let certificates: TestCertificates;
    let registry: TestRegistry;
    let proxy: ConnectProxy;

    beforeAll(async () => {
      peerDir = mkdtempSync('/var/tmp/skep-registry-peer-');
      certificates = makeCertificates(peerDir);
      const { certificate, key, ca } = certificates;
      const outTar = join(peerDir, 'image.tar');
      buildBusyboxImage({ name: 'web:1', outTar });
      // Filled without TLS; the client that fills it has no certificate.
      const plain = await startRegistry({ dir: peerDir });
      push(plain, outTar, 'web:1');
      await plain.stop();
      registry = await startRegistry({ dir: peerDir, tls: { certificate, key, clientCa: ca } });
      proxy = await startProxy(registry.host);
    });

    afterAll(async () => {
      await proxy.stop();
      await registry.stop();
      rmSync(peerDir, { recursive: true, force: true });
    });

    function trust(...files: [from: string, name: string][]): Partial<RegistrySettings> {
      const folder = join(dir, 'certs.d', NAME);
      mkdirSync(folder, { recursive: true });
      for (const [from, name] of files) copyFileSync(from, join(folder, name));
      return {
        certificateDirs: [join(dir, 'certs.d'), '/nowhere'],
        proxy: { ...NO_PROXIES, https: proxy.url },
      };
    }

    test('is believed by its authority, and shown our certificate', async () => {
      const { ca, clientCertificate, clientKey } = certificates;
      const images = await open(
        trust([ca, 'ca.crt'], [clientCertificate, 'client.cert'], [clientKey, 'client.key']),
      );
      const image = await images.pull(`${NAME}/web:1`, null);
      expect(image.repoTags).toEqual([`${NAME}/web:1`]);
      expect(new Set(proxy.asked)).toEqual(new Set([NAME]));
    });

    test('lets nobody in without a certificate', async () => {
      const images = await open(trust([certificates.ca, 'ca.crt']));
      expect(await failure(images.pull(`${NAME}/web:1`, null))).toBe(
        `pull web:1 from ${NAME}: remote error: tls: bad certificate`,
      );
    });

    test('is refused without its authority', async () => {
      const images = await open(trust());
      expect(await failure(images.pull(`${NAME}/web:1`, null))).toContain(
        'tls: certificate signed by unknown authority "Test CA"',
      );
    });

    test('a client certificate without its key is told before anything is asked', async () => {
      const images = await open(trust([certificates.clientCertificate, 'client.cert']));
      expect(await failure(images.pull(`${NAME}/web:1`, null))).toContain(
        'missing key client.key for client certificate client.cert',
      );
    });
  },
);

describe.skipIf(!isRoot)('a registry without TLS (needs root)', () => {
  let registry: FaultyRegistry;
  let proxy: ConnectProxy;

  beforeEach(async () => {
    registry = new FaultyRegistry();
    await registry.start();
    proxy = await startProxy(registry.host);
  });

  afterEach(async () => {
    await proxy.stop();
    await registry.stop();
  });

  test('that is not said to be so is told in the words of Docker', async () => {
    const images = await open({ proxy: { ...NO_PROXIES, https: proxy.url } });
    expect(await failure(images.pull('registry.example:5000/app:1', null))).toBe(
      'pull app:1 from registry.example:5000: ' +
        'Get "https://registry.example:5000/v2/app/manifests/1": http: server gave HTTP response to HTTPS client',
    );
  });

  test('that is said to be so is pulled from, through the proxy for plain HTTP', async () => {
    const images = await open({
      insecureRegistries: ['registry.example:5000'],
      proxy: { http: proxy.url, https: proxy.url, except: [] },
    });
    const image = await images.pull('registry.example:5000/app:1', null);
    expect(image.repoTags).toEqual(['registry.example:5000/app:1']);
    expect(proxy.asked).toContain('http://registry.example:5000/v2/app/manifests/1');
  });
});

describe.skipIf(!isRoot)('import from a URL (needs root)', () => {
  const server = new FaultyRegistry();
  const tar = layerTar({ files: { 'etc/from': { content: 'afar', uid: 7 } } });
  const options = { changes: ['CMD ["/x"]'], message: 'why' };
  const asked: (string | undefined)[] = [];

  beforeAll(async () => {
    server.hook = (request, response) => {
      asked.push(request.headers.authorization);
      if (request.url === '/moved.tgz') response.writeHead(302, { Location: '/fs.tgz' }).end();
      else if (request.url === '/fs.tgz') response.end(gzipSync(tar));
      else if (request.url === '/cut.tar') {
        response.writeHead(200, { 'Content-Length': String(tar.length) });
        response.write(tar.subarray(0, 700), () => response.destroy());
      } else response.writeHead(404).end('no such thing');
      return true;
    };
    await server.start();
  });

  afterAll(() => server.stop());

  test('takes the file that it leads to, through redirects', async () => {
    const images = await open({});
    const lines: string[] = [];
    const url = `http://alice:pass%21@${server.host}/moved.tgz`;
    const image = await images.importFrom(url, 'far:1', options, ({ status = '' }) => {
      lines.push(status);
    });
    expect(images.get('far:1')?.id).toBe(image.id);
    expect(image.config.cmd).toEqual(['/x']);
    expect(image.layers).toEqual([sha256(tar)]);
    expect(lines[0]).toBe(`Downloading from http://${server.host}/moved.tgz`);
    expect(asked[0]).toBe(`Basic ${Buffer.from('alice:pass!').toString('base64')}`);
  });

  test.each([
    ['/none.tar', 'the server answered with status 404'],
    ['/cut.tar', 'aborted'],
  ])('of %s tells why there is nothing, without the password', async (path, words) => {
    const images = await open({});
    const url = `http://alice:pass@${server.host}${path}`;
    const told = await failure(images.importFrom(url, 'far:1', options));
    expect(told).toBe(`download http://${server.host}${path}: ${words}`);
    expect(images.list()).toEqual([]);
  });

  test('of nobody, and of what is no URL for a file', async () => {
    const images = await open({});
    const told = await failure(images.importFrom('127.0.0.1:1/fs.tar', null, options));
    expect(told).toMatch(/^download http:\/\/127\.0\.0\.1:1\/fs\.tar: .*ECONNREFUSED/);
    await expect(images.importFrom('ftp://x/fs.tar', null, options)).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });
});
