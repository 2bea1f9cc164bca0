import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { ContentStore, sha256Digest } from '../../../worker/images/content-store.ts';
import { encodeManifest } from '../../../worker/images/image-config.ts';
import { Puller } from '../../../worker/images/puller.ts';
import { RegistryHosts } from '../../../worker/images/registry-hosts.ts';
import { NO_PROXIES } from '../../../worker/images/registry-settings.ts';
import { noTokens } from '../../support/no-tokens.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const ended: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

const LAYER = Buffer.from('the bytes of a layer');

/** Pulls an image whose layer comes in bodies that end cleanly after so many bytes; the ranges asked for. */
async function pulledIn(pieceBytes: number, sizeBytes = LAYER.length, hasRanges = true) {
  const document = { rootfs: { type: 'layers', diff_ids: [sha256Digest(LAYER)] } };
  const config = Buffer.from(JSON.stringify(document));
  const [layerDigest, configDigest] = [sha256Digest(LAYER), sha256Digest(config)];
  const manifest = encodeManifest({ digest: configDigest, sizeBytes: config.length }, [
    { digest: layerDigest, sizeBytes, mediaType: 'application/vnd.oci.image.layer.v1.tar' },
  ]);
  const ranges: (string | null)[] = [];
  const server = http.createServer((request, response) => {
    if (request.url!.includes('/manifests/')) response.end(manifest);
    else if (request.url!.endsWith(configDigest)) response.end(config);
    else if (request.url!.endsWith(layerDigest)) {
      const { range: asked = null } = request.headers;
      ranges.push(asked);
      const range = hasRanges ? asked : null;
      const from = Number(/\d+/.exec(range ?? '0')![0]);
      response.writeHead(range === null ? 200 : 206); // chunked: no length to hold it against
      response.end(LAYER.subarray(from, from + pieceBytes));
    } else response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ended.push(() => new Promise((resolve) => server.close(resolve)));
  ended.push(() => server.closeAllConnections());
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const content = new ContentStore(await folder(), random);
  await content.start();
  const settings = { insecureRegistries: [], certificateDirs: [], mirrors: [], proxy: NO_PROXIES };
  const hosts = new RegistryHosts(settings, clock);
  ended.push(() => hosts.close());
  const puller = new Puller({
    ...{ content, clock, random, hosts, exchange: noTokens },
    ...{ log: silentLogger, architecture: 'amd64' },
  });
  ended.push(() => puller.stop());
  const domain = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const outcome = await puller
    .pull({ domain, path: 'web', tag: '1', digest: null }, null, {
      hold: () => {},
      onProgress: () => {},
    })
    .then(
      () => 'pulled',
      (err: { code: string }) => err.code,
    );
  return { ranges, outcome, isHere: content.has(layerDigest) };
}

test('a body that ends early, though cleanly, is gone on with', async () => {
  expect(await pulledIn(12)).toEqual({
    ranges: [null, 'bytes=12-'],
    outcome: 'pulled',
    isHere: true,
  });
});

test.each([
  ['with ranges', true],
  ['without', false],
])(
  'a layer that is shorter than announced is damaged, not asked for again and again: %s',
  async (_, hasRanges) => {
    const { ranges, outcome } = await pulledIn(LAYER.length, LAYER.length + 1, hasRanges);
    expect([outcome, ranges]).toEqual(['data-loss', [null, `bytes=${LAYER.length}-`]]);
  },
);
