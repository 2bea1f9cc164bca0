/** The image that is measured, as an OCI layout. */
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../test/support/image-builder.ts';
import type { BenchLayer } from './layer.ts';

/** An OCI layout of one image with this layer. */
export function writeLayout(dir: string, layer: BenchLayer): string {
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true });
  const blob = (digest: string): string => join(dir, 'blobs', digest.replace(':', '/'));
  const type = 'application/vnd.oci.image';
  const put = (value: object, mediaType: string): object => {
    const bytes = Buffer.from(JSON.stringify(value));
    writeFileSync(blob(sha256(bytes)), bytes);
    return { mediaType: `${type}.${mediaType}`, digest: sha256(bytes), size: bytes.length };
  };
  linkSync(layer.path, blob(layer.digest));
  const config = put(
    {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    },
    'config.v1+json',
  );
  const layers = [
    { mediaType: `${type}.layer.v1.tar+gzip`, digest: layer.digest, size: layer.sizeBytes },
  ];
  const mediaType = `${type}.manifest.v1+json`;
  const manifest = put({ schemaVersion: 2, mediaType, config, layers }, 'manifest.v1+json');
  const annotations = { 'org.opencontainers.image.ref.name': '1' };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  writeFileSync(join(dir, 'index.json'), JSON.stringify(index));
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return dir;
}
