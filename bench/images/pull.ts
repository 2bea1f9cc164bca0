/** A cold pull from Debian's docker-registry on loopback, until the image can be used, against skopeo and umoci. */
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../test/support/image-builder.ts';
import { startRegistry } from '../../test/support/image-registry.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { type BenchLayer, makeLayer } from './layer.ts';
import { missingPeers } from './peers.ts';
import { newStoreProcess } from './unpack.ts';

const ROUNDS = 3;

export async function pull(): Promise<void> {
  const missing = missingPeers();
  if (missing !== null) {
    say(missing);
    return;
  }
  const dir = temporaryDirectory('pull');
  const layer = await makeLayer(join(dir, 'layer.tar.gz'));
  const layout = writeLayout(join(dir, 'layout'), layer);
  const registry = await startRegistry({ dir: join(dir, 'registry') });
  try {
    const name = `${registry.host}/app:1`;
    const quiet = ['copy', '-q', '--dest-tls-verify=false'];
    await runProgram('skopeo', [...quiet, `oci:${layout}:1`, `docker://${name}`]);
    await measure(dir, name);
  } finally {
    await registry.stop();
  }
}

async function measure(dir: string, name: string): Promise<void> {
  const ours: number[] = [];
  const theirs: number[] = [];
  const growths: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const own = join(dir, 'own');
    const cost = await newStoreProcess().ask('pull', { dir: own, name });
    ours.push(cost.ms);
    growths.push(cost.rssGrowthBytes);
    rmSync(own, { recursive: true });
    const copy = join(dir, 'copy');
    const beganMs = performance.now();
    const from = ['copy', '-q', '--src-tls-verify=false', `docker://${name}`];
    await runProgram('skopeo', [...from, `oci:${copy}:1`]);
    await runProgram('umoci', ['unpack', '--image', `${copy}:1`, join(dir, 'bundle')]);
    theirs.push(performance.now() - beganMs);
    for (const made of [copy, join(dir, 'bundle')]) rmSync(made, { recursive: true });
    say(`pull ${cost.ms.toFixed(0)} ms, skopeo and umoci ${theirs.at(-1)!.toFixed(0)} ms`);
  }
  figure('pull_vs_skopeo_ratio', median(ours) / median(theirs));
  figure('pull_rss_growth_mb', Math.max(...growths) / 1e6);
}

/** An OCI layout of one image with this layer. */
function writeLayout(dir: string, layer: BenchLayer): string {
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
