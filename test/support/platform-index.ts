/** An index with images of several platforms, as builders write it into OCI layouts. */
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { hostArchitecture } from '../../worker/images/image-config.ts';
import { layerTar, sha256, tar } from './image-builder.ts';

export const OWN = hostArchitecture(process.arch);
const TYPE = 'application/vnd.oci.image';

export interface PlatformIndex {
  readonly index: Buffer;
  /** by digest, the index too */
  readonly blobs: ReadonlyMap<string, Buffer>;
  /** of each architecture */
  readonly manifests: Readonly<Record<string, string>>;
  /** config digest of this machine's image */
  readonly id: string;
}

/** Images of this machine's platform, of s390x, and what a builder attests of the first. @param mark in their files */
export function platformIndex(mark: string): PlatformIndex {
  const blobs = new Map<string, Buffer>();
  const put = (bytes: Buffer): { digest: string; size: number } => {
    blobs.set(sha256(bytes), bytes);
    return { digest: sha256(bytes), size: bytes.length };
  };
  const document = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  const image = (architecture: string) => {
    const layer = layerTar({ files: { etc: `${mark} ${architecture}` } });
    const rootfs = { type: 'layers', diff_ids: [sha256(layer)] };
    const config = put(document({ architecture, os: 'linux', config: {}, rootfs }));
    const layers = [{ mediaType: `${TYPE}.layer.v1.tar+gzip`, ...put(gzipSync(layer)) }];
    return manifest({ mediaType: `${TYPE}.config.v1+json`, ...config }, layers);
  };
  const manifest = (config: { mediaType: string; digest: string }, layers: object[]) => {
    const mediaType = `${TYPE}.manifest.v1+json`;
    const put_ = put(document({ schemaVersion: 2, mediaType, config, layers }));
    return { mediaType, ...put_, config: config.digest };
  };
  const own = image(OWN);
  const other = image('s390x');
  const statement = { mediaType: 'application/vnd.in-toto+json', ...put(document({ of: mark })) };
  const empty = { mediaType: `${TYPE}.config.v1+json`, ...put(document({ rootfs: {} })) };
  const attestation = manifest(empty, [statement]);
  const entry = ({ mediaType, digest, size }: typeof own, architecture: string, os = 'linux') => ({
    ...{ mediaType, digest, size },
    platform: { architecture, os },
  });
  const manifests = [
    entry(other, 's390x'),
    entry(own, OWN),
    entry(attestation, 'unknown', 'unknown'),
  ];
  const index = document({ schemaVersion: 2, mediaType: `${TYPE}.index.v1+json`, manifests });
  put(index);
  return {
    index,
    blobs,
    manifests: { [OWN]: own.digest, s390x: other.digest },
    id: own.config,
  };
}

/** @param without digests that are left out */
export function writeLayout(
  path: string,
  { index, blobs }: PlatformIndex,
  name: string,
  without: readonly string[] = [],
): void {
  const top = {
    mediaType: `${TYPE}.index.v1+json`,
    digest: sha256(index),
    size: index.length,
    annotations: { 'io.containerd.image.name': name },
  };
  const file = (path_: string, data: Buffer) => ({ name: path_, kind: 'file' as const, data });
  writeFileSync(
    path,
    tar([
      file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
      file('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [top] }))),
      ...[...blobs]
        .filter(([digest]) => !without.includes(digest))
        .map(([digest, data]) => file(`blobs/${digest.replace(':', '/')}`, data)),
    ]),
  );
}
