/**
 * The documents of an image - config, manifest, index - as types, parsed once from their JSON
 * (OCI image specification and Docker's schema 2, which agree in the fields used here).
 */
import { SkepError } from '../../common/base/errors.ts';
import { isSha256Digest } from '../../common/model/image-reference.ts';
import type { Compression } from './compression.ts';

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** null = not set: the runtime's default holds. Times in milliseconds. */
export interface ImageHealthcheck {
  /** `['CMD', ...]`, `['CMD-SHELL', command]` or `['NONE']` */
  readonly test: readonly string[];
  readonly intervalMs: number | null;
  readonly timeoutMs: number | null;
  readonly startPeriodMs: number | null;
  readonly startIntervalMs: number | null;
  readonly retries: number | null;
}

/** What an image says about running it. */
export interface ImageConfig {
  readonly entrypoint: readonly string[] | null;
  readonly cmd: readonly string[] | null;
  /** `NAME=value` */
  readonly env: readonly string[];
  /** `''` = root; else `user`, `uid`, `user:group`, ... */
  readonly user: string;
  /** `''` = `/` */
  readonly workingDir: string;
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
  /** absolute paths */
  readonly volumes: readonly string[];
  readonly stopSignal: string | null;
  readonly healthcheck: ImageHealthcheck | null;
  readonly labels: Readonly<Record<string, string>>;
  /** instructions for images that are built upon it; nothing here follows them */
  readonly onBuild: readonly string[];
  /** of its builder's instructions in shell form; empty = `/bin/sh -c` */
  readonly shell: readonly string[];
  /** Windows only: `cmd` is one line as it is */
  readonly argsEscaped: boolean;
}

export interface ImageHistoryEntry {
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly comment: string;
  /** true = this step made no layer */
  readonly emptyLayer: boolean;
}

export interface ImageDocument {
  readonly architecture: string;
  readonly variant: string;
  readonly os: string;
  readonly author: string;
  /** 0 when the image does not say */
  readonly createdAtMs: number;
  readonly config: ImageConfig;
  /** bottom first */
  readonly diffIds: readonly string[];
  readonly history: readonly ImageHistoryEntry[];
}

export interface Platform {
  readonly architecture: string;
  readonly os: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly platform: (Platform & { readonly variant: string }) | null;
  readonly annotations: Readonly<Record<string, string>>;
}

export type ManifestDocument =
  | {
      readonly kind: 'manifest';
      readonly config: Descriptor;
      /** bottom first */
      readonly layers: readonly Descriptor[];
    }
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] };

type Json = Readonly<Record<string, unknown>>;

function invalid(what: string, rule: string): SkepError {
  return new SkepError('invalid-argument', `read image ${what}: ${rule}`);
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Strings of an array; Docker also wrote a single string where a list of one was meant. */
function asTexts(value: unknown): string[] | null {
  if (typeof value === 'string') return [value];
  if (!Array.isArray(value)) return null;
  return value.filter((item): item is string => typeof item === 'string');
}

function asTextMap(value: unknown): Record<string, string> {
  const entries = Object.entries(asObject(value)).filter(([, v]) => typeof v === 'string');
  return Object.fromEntries(entries) as Record<string, string>;
}

function asTimeMs(value: unknown): number {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isFinite(ms) ? ms : 0;
}

export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (err) {
    throw new SkepError('invalid-argument', `read image ${what}: not JSON`, { cause: err });
  }
}

/** The config blob. Throws `invalid-argument`. */
export function parseImageDocument(bytes: Uint8Array): ImageDocument {
  const json = asObject(parseJson(bytes, 'config'));
  const rootfs = asObject(json['rootfs']);
  const diffIds = asTexts(rootfs['diff_ids']) ?? [];
  if (!diffIds.every(isSha256Digest)) throw invalid('config', 'rootfs.diff_ids holds no sha256');
  const history = Array.isArray(json['history']) ? json['history'].map(asObject) : [];
  return {
    architecture: asText(json['architecture']),
    variant: asText(json['variant']),
    os: asText(json['os']) || 'linux',
    author: asText(json['author']),
    createdAtMs: asTimeMs(json['created']),
    config: parseConfig(asObject(json['config'])),
    diffIds,
    history: history.map((step) => ({
      createdAtMs: asTimeMs(step['created']),
      createdBy: asText(step['created_by']),
      comment: asText(step['comment']),
      emptyLayer: step['empty_layer'] === true,
    })),
  };
}

function parseConfig(json: Json): ImageConfig {
  return {
    entrypoint: nonEmpty(asTexts(json['Entrypoint'])),
    cmd: nonEmpty(asTexts(json['Cmd'])),
    env: asTexts(json['Env']) ?? [],
    user: asText(json['User']),
    workingDir: asText(json['WorkingDir']),
    exposedPorts: Object.keys(asObject(json['ExposedPorts'])),
    volumes: Object.keys(asObject(json['Volumes'])),
    stopSignal: asText(json['StopSignal']) || null,
    healthcheck: parseHealthcheck(json['Healthcheck']),
    labels: asTextMap(json['Labels']),
    onBuild: asTexts(json['OnBuild']) ?? [],
    shell: asTexts(json['Shell']) ?? [],
    argsEscaped: json['ArgsEscaped'] === true,
  };
}

function nonEmpty(texts: string[] | null): string[] | null {
  return texts === null || texts.length === 0 ? null : texts;
}

function parseHealthcheck(value: unknown): ImageHealthcheck | null {
  const json = asObject(value);
  const test = asTexts(json['Test']) ?? [];
  if (test.length === 0) return null;
  const nanosToMs = (nanos: unknown): number | null =>
    typeof nanos === 'number' && nanos > 0 ? nanos / 1e6 : null;
  const retries = json['Retries'];
  return {
    test,
    intervalMs: nanosToMs(json['Interval']),
    timeoutMs: nanosToMs(json['Timeout']),
    startPeriodMs: nanosToMs(json['StartPeriod']),
    startIntervalMs: nanosToMs(json['StartInterval']),
    retries: typeof retries === 'number' && retries > 0 ? retries : null,
  };
}

/** A manifest, manifest list or index. Throws `invalid-argument`, `unimplemented` for schema 1. */
export function parseManifest(bytes: Uint8Array): ManifestDocument {
  const json = asObject(parseJson(bytes, 'manifest'));
  if (json['schemaVersion'] === 1) {
    throw new SkepError('unimplemented', 'read image manifest: schema 1 is not supported');
  }
  if (Array.isArray(json['manifests'])) {
    return { kind: 'index', manifests: json['manifests'].map(parseDescriptor) };
  }
  if (!Array.isArray(json['layers']) || typeof json['config'] !== 'object') {
    throw invalid('manifest', 'neither a manifest nor an index');
  }
  return {
    kind: 'manifest',
    config: parseDescriptor(json['config']),
    layers: json['layers'].map(parseDescriptor),
  };
}

/** Of a manifest or an index; OCI allows to leave it out there. Throws as `parseManifest`. */
export function manifestMediaType(bytes: Uint8Array): string {
  const { mediaType, manifests } = asObject(parseJson(bytes, 'manifest'));
  const { ociIndex, ociManifest, dockerIndex, dockerManifest } = MEDIA_TYPES;
  const known = [ociIndex, dockerIndex, ociManifest, dockerManifest];
  return known.find((one) => one === mediaType) ?? (manifests ? ociIndex : ociManifest);
}

function parseDescriptor(value: unknown): Descriptor {
  const json = asObject(value);
  const digest = asText(json['digest']);
  const size = json['size'];
  if (!isSha256Digest(digest)) throw invalid('manifest', `${JSON.stringify(digest)} is no sha256`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid('manifest', `${digest} has no valid size`);
  }
  const platform = json['platform'] === undefined ? null : asObject(json['platform']);
  return {
    mediaType: asText(json['mediaType']),
    digest,
    sizeBytes: size,
    platform: platform && {
      architecture: asText(platform['architecture']),
      os: asText(platform['os']),
      variant: asText(platform['variant']),
    },
    annotations: asTextMap(json['annotations']),
  };
}

/** The name that images use for this machine's processor (Go's GOARCH). */
export function hostArchitecture(nodeArchitecture: string): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[nodeArchitecture] ?? nodeArchitecture;
}

/**
 * The manifest of an index for linux on `architecture`. Throws `not-found` with what there is, in
 * Docker's words.
 */
export function choosePlatform(manifests: readonly Descriptor[], architecture: string): Descriptor {
  const fits = manifests.filter(
    (m) =>
      m.platform === null ||
      (m.platform.os === 'linux' && m.platform.architecture === architecture),
  );
  // Attestations have platform unknown/unknown and so drop out; on arm64, v8 is the common variant.
  const best = fits.find((m) => ['', 'v8'].includes(m.platform?.variant ?? '')) ?? fits[0];
  if (!best) {
    const offered = manifests
      .map((m) => `${m.platform?.os}/${m.platform?.architecture}`)
      .join(', ');
    throw new SkepError(
      'not-found',
      `no matching manifest for linux/${architecture} in the manifest list entries (${offered})`,
    );
  }
  return best;
}

/** Of a layer that is compressed so; bzip2 and xz have none, and are not unpacked. */
export function layerMediaType(compression: Compression): string {
  const types: Partial<Record<Compression, string>> = {
    gzip: MEDIA_TYPES.ociLayerGzip,
    zstd: `${MEDIA_TYPES.ociLayer}+zstd`,
  };
  return types[compression] ?? MEDIA_TYPES.ociLayer;
}

/** An OCI manifest for an image that came without one. */
export function encodeManifest(
  config: Pick<Descriptor, 'digest' | 'sizeBytes'>,
  layers: readonly Pick<Descriptor, 'digest' | 'sizeBytes' | 'mediaType'>[],
): Buffer {
  const describe = (d: Pick<Descriptor, 'digest' | 'sizeBytes'>, mediaType: string): object => ({
    mediaType,
    digest: d.digest,
    size: d.sizeBytes,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: describe(config, MEDIA_TYPES.ociConfig),
      layers: layers.map((layer) => describe(layer, layer.mediaType)),
    }),
  );
}
