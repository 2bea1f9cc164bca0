/** A registry that misbehaves in chosen ways, for what no real one does when asked to. On loopback. */
import { createHash } from 'node:crypto';
import http from 'node:http';
import { gzipSync } from 'node:zlib';
import { layerTar, sha256 } from './image-builder.ts';

export type Handler = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  /** how often this URL was asked for before */
  earlier: number,
) => boolean;

/** A registry of one image, `app:1` and `app:multi`, in memory, with a hook before each answer. */
export class FaultyRegistry {
  readonly layer: Buffer;
  readonly tarDigest: string;
  readonly config: Buffer;
  readonly manifest: Buffer;
  readonly index: Buffer;
  readonly requests: string[] = [];
  hook: Handler = () => false;
  #server = http.createServer((request, response) => this.#serve(request, response));
  host = '';

  /** small layers above the first */
  readonly #more: Buffer[] = [];

  constructor({ moreLayers = 0 }: { readonly moreLayers?: number } = {}) {
    const more = Array.from({ length: moreLayers }, (_, i) =>
      layerTar({ files: { [`more${i}`]: randomText(2_000) } }),
    );
    this.#more = more.map((one) => gzipSync(one));
    const tar = layerTar({ files: { data: Buffer.from(randomText(400_000)), hello: 'there' } });
    this.tarDigest = sha256(tar);
    this.layer = gzipSync(tar, { level: 0 });
    this.config = json({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [this.tarDigest, ...more.map(sha256)] },
    });
    const type = 'application/vnd.oci.image';
    this.manifest = json({
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: { mediaType: `${type}.config.v1+json`, ...describe_(this.config) },
      layers: [this.layer, ...this.#more].map((layer) => ({
        mediaType: `${type}.layer.v1.tar+gzip`,
        ...describe_(layer),
      })),
    });
    const platform = (architecture: string): object => ({ architecture, os: 'linux' });
    const own = process.arch === 'x64' ? 'amd64' : process.arch;
    const other = { digest: `sha256:${'0'.repeat(64)}`, size: 5, platform: platform('s390x') };
    const mine = { ...describe_(this.manifest), platform: platform(own) };
    const attestation = { ...other, platform: { architecture: 'unknown', os: 'unknown' } };
    this.index = json({ schemaVersion: 2, manifests: [other, attestation, mine] });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.host = `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get blobUrl(): string {
    return `/v2/app/blobs/${sha256(this.layer)}`;
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = request.url ?? '';
    const earlier = this.requests.filter((one) => one === url).length;
    this.requests.push(url);
    if (this.hook(request, response, earlier)) return;
    const bodies: Record<string, Buffer> = {
      '/v2/': Buffer.from('{}'),
      '/v2/app/manifests/1': this.manifest,
      '/v2/app/manifests/multi': this.index,
      [`/v2/app/manifests/${sha256(this.manifest)}`]: this.manifest,
      [`/v2/app/blobs/${sha256(this.config)}`]: this.config,
      [this.blobUrl]: this.layer,
      ...Object.fromEntries(this.#more.map((one) => [`/v2/app/blobs/${sha256(one)}`, one])),
    };
    const body = bodies[url];
    const range = /bytes=(\d+)-/.exec(request.headers.range ?? '');
    if (body && range) response.writeHead(206).end(body.subarray(Number(range[1])));
    else response.writeHead(body ? 200 : 404).end(body);
  }
}

function describe_(bytes: Buffer): { digest: string; size: number } {
  return { digest: sha256(bytes), size: bytes.length };
}

export function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Incompressible enough, and the same in each call. */
function randomText(bytes: number): string {
  let text = '';
  for (let i = 0; text.length < bytes; i++)
    text += createHash('sha256').update(`${i}`).digest('hex');
  return text.slice(0, bytes);
}
