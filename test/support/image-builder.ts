/**
 * Builds image archives from this machine's static busybox, without a registry or a daemon: the
 * images of tests and examples. Reproducible: the same options give the same bytes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import {
  encodeTarHeader,
  type TarHeader,
  tarPadding,
  tarTrailer,
} from '../../worker/images/tar-writer.ts';

/** A file's content, or all there is to say about it. */
export type FileSpec =
  | string
  | Buffer
  | {
      readonly content: string | Buffer;
      /** default 0o644 */
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    };

/** One layer: files by path, and raw tar entries for everything else (links, whiteouts, devices). */
export interface LayerSpec {
  readonly files?: Readonly<Record<string, FileSpec>>;
  readonly entries?: readonly (TarHeader & { readonly data?: Buffer })[];
}

export interface BusyboxImageOptions {
  /** `web:1` */
  readonly name: string;
  /** further names */
  readonly alsoNamed?: readonly string[];
  readonly outTar: string;
  /** default `docker-archive` */
  readonly format?: 'docker-archive' | 'oci-layout';
  /** compress each layer; default false */
  readonly gzipLayers?: boolean;
  /** with the program of that name; default false */
  readonly zstdLayers?: boolean;
  /** compress the whole archive; default false */
  readonly gzip?: boolean;
  readonly zstd?: boolean;
  /** as archives of images without a name: `RepoTags` null (or no annotation); default false */
  readonly nameless?: boolean;
  /** files on top of busybox, in a layer of their own */
  readonly files?: Readonly<Record<string, FileSpec>>;
  /** further layers above `files`, in order */
  readonly layers?: readonly LayerSpec[];
  /** further layers above those, as they are */
  readonly tars?: readonly Buffer[];
  /** leave busybox out; default false */
  readonly empty?: boolean;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly exposedPorts?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly volumes?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
  /** in the words of images; default this machine's */
  readonly architecture?: string;
  /** as in the config: `Test`, `Interval` in ns, ... */
  readonly healthcheck?: Readonly<Record<string, unknown>>;
}

export interface BuiltImage {
  /** `sha256:...` of the config */
  readonly id: string;
  readonly diffIds: readonly string[];
}

const BUSYBOX_PATHS = ['/bin/busybox', '/usr/bin/busybox'];
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64' };
const CREATED = '2026-01-01T00:00:00Z';

/** Writes the archive to `outTar`. Throws when busybox is not installed (package busybox-static). */
export function buildBusyboxImage(options: BusyboxImageOptions): BuiltImage {
  const layers = [
    ...(options.empty ? [] : [busyboxLayer()]),
    ...(options.files ? [layerTar({ files: options.files })] : []),
    ...(options.layers ?? []).map(layerTar),
    ...(options.tars ?? []),
  ];
  const diffIds = layers.map(sha256);
  const blobs = layers.map((layer) => compressed(layer, options.gzipLayers, options.zstdLayers));
  const config = Buffer.from(JSON.stringify(imageConfig(options, diffIds)));
  const archive =
    options.format === 'oci-layout'
      ? ociLayout(options, config, blobs)
      : dockerArchive(options, config, blobs);
  writeFileSync(options.outTar, compressed(archive, options.gzip, options.zstd));
  return { id: sha256(config), diffIds };
}

export const hasZstd = existsSync('/usr/bin/zstd');

function compressed(bytes: Buffer, gzip = false, zstd = false): Buffer {
  if (gzip) return gzipSync(bytes);
  if (!zstd) return bytes;
  return execFileSync('zstd', ['-q', '-c'], { input: bytes, maxBuffer: 1 << 30 });
}

/** A layer's tar. Parents of files are not described, as in many real images. */
export function layerTar(layer: LayerSpec): Buffer {
  const entries = Object.entries(layer.files ?? {}).map(([path, spec]) => fileEntry(path, spec));
  return tar([...entries, ...(layer.entries ?? [])]);
}

/** A tar of these entries. */
export function tar(entries: readonly (TarHeader & { readonly data?: Buffer })[]): Buffer {
  const parts = entries.flatMap(({ data, ...header }) => {
    if (!data) return [encodeTarHeader(header)];
    const sized = { ...header, sizeBytes: data.length };
    return [encodeTarHeader(sized), data, tarPadding(data.length)];
  });
  return Buffer.concat([...parts, tarTrailer()]);
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function fileEntry(path: string, spec: FileSpec): TarHeader & { data: Buffer } {
  const full = typeof spec === 'string' || Buffer.isBuffer(spec) ? { content: spec } : spec;
  const { content, ...attributes } = full;
  return {
    name: path.replace(/^\/+/, ''),
    kind: 'file',
    ...attributes,
    data: Buffer.isBuffer(content) ? content : Buffer.from(content),
  };
}

let cachedBusybox: Buffer | null = null;

function busyboxLayer(): Buffer {
  cachedBusybox ??= tar(busyboxEntries());
  return cachedBusybox;
}

/** Of this machine: one program that needs no other file. Throws when it is not installed. */
export function busyboxPath(): string {
  const path = BUSYBOX_PATHS.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('busybox is missing: apt-get install busybox-static');
  return path;
}

function busyboxEntries(): (TarHeader & { data?: Buffer })[] {
  const path = busyboxPath();
  const directory = (name: string, mode = 0o755): TarHeader => ({ name, kind: 'directory', mode });
  const file = (name: string, text: string): TarHeader & { data: Buffer } => ({
    name,
    kind: 'file',
    data: Buffer.from(text),
  });
  const applets = execFileSync(path, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  const names = ['bin', 'dev', 'etc', 'home', 'proc', 'run', 'sys', 'usr', 'usr/bin', 'var'];
  return [
    ...names.map((name) => directory(`${name}/`)),
    directory('root/', 0o700),
    directory('tmp/', 0o1777),
    { name: 'bin/busybox', kind: 'file', mode: 0o755, data: readFileSync(path) },
    ...applets
      .filter((applet) => applet !== 'busybox')
      .map(
        (applet): TarHeader => ({
          name: `bin/${applet}`,
          kind: 'symlink',
          linkName: 'busybox',
          mode: 0o777,
        }),
      ),
    { name: 'usr/bin/env', kind: 'symlink', linkName: '/bin/busybox', mode: 0o777 },
    file(
      'etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\nwww:x:1000:1000:www:/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n',
    ),
    file('etc/group', 'root:x:0:\nwww:x:1000:\nstaff:x:50:www\nnogroup:x:65534:\n'),
    file('etc/hosts', ''),
    file('etc/resolv.conf', ''),
  ];
}

function imageConfig(options: BusyboxImageOptions, diffIds: readonly string[]): object {
  const keys = (names: readonly string[] | undefined): object | undefined =>
    names && Object.fromEntries(names.map((name) => [name, {}]));
  return {
    created: CREATED,
    architecture: options.architecture ?? ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: {
      Entrypoint: options.entrypoint,
      Cmd: options.cmd ?? (options.entrypoint ? undefined : ['/bin/sh']),
      Env: ['PATH=/bin:/usr/bin', ...(options.env ?? [])],
      User: options.user,
      WorkingDir: options.workdir,
      ExposedPorts: keys(options.exposedPorts),
      Volumes: keys(options.volumes),
      Labels: options.labels,
      StopSignal: options.stopSignal,
      Healthcheck: options.healthcheck,
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map((_, i) => ({ created: CREATED, created_by: `layer ${i + 1}` })),
  };
}

function named(name: string, data: Buffer): TarHeader & { data: Buffer } {
  return { name, kind: 'file', data };
}

function dockerArchive(
  options: BusyboxImageOptions,
  config: Buffer,
  blobs: readonly Buffer[],
): Buffer {
  const hex = (bytes: Buffer): string => sha256(bytes).slice('sha256:'.length);
  const manifest = [
    {
      Config: `${hex(config)}.json`,
      RepoTags: options.nameless ? null : [options.name, ...(options.alsoNamed ?? [])],
      Layers: blobs.map((blob) => `${hex(blob)}/layer.tar`),
    },
  ];
  const unique = new Map(blobs.map((blob) => [`${hex(blob)}/layer.tar`, blob]));
  return tar([
    ...[...unique].map(([name, blob]) => named(name, blob)),
    named(`${hex(config)}.json`, config),
    named('manifest.json', Buffer.from(JSON.stringify(manifest))),
  ]);
}

function ociLayout(options: BusyboxImageOptions, config: Buffer, blobs: readonly Buffer[]): Buffer {
  const type = 'application/vnd.oci.image';
  const describe = (mediaType: string, bytes: Buffer): object => ({
    mediaType: `${type}.${mediaType}`,
    digest: sha256(bytes),
    size: bytes.length,
  });
  const suffix = options.gzipLayers ? '+gzip' : options.zstdLayers ? '+zstd' : '';
  const layerType = `layer.v1.tar${suffix}`;
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: describe('config.v1+json', config),
      layers: blobs.map((blob) => describe(layerType, blob)),
    }),
  );
  const index = {
    schemaVersion: 2,
    manifests: [options.name, ...(options.alsoNamed ?? [])].map((name) => ({
      ...describe('manifest.v1+json', manifest),
      ...(!options.nameless && { annotations: { 'org.opencontainers.image.ref.name': name } }),
    })),
  };
  const all = new Map([config, manifest, ...blobs].map((bytes) => [sha256(bytes), bytes]));
  return tar([
    named('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
    named('index.json', Buffer.from(JSON.stringify(index))),
    ...[...all].map(([digest, bytes]) => named(`blobs/${digest.replace(':', '/')}`, bytes)),
  ]);
}
