/** A cold pull from Debian's docker-registry on loopback, until the image can be used, against skopeo and umoci. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { startRegistry } from '../../test/support/image-registry.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { BenchDaemon, followed } from './daemon.ts';
import { makeLayer } from './layer.ts';
import { writeLayout } from './layout.ts';
import { missingPeers } from './peers.ts';

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
    const name = `${registry.host}/app`;
    const quiet = ['copy', '-q', '--dest-tls-verify=false'];
    await runProgram('skopeo', [...quiet, `oci:${layout}:1`, `docker://${name}:1`]);
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
    const daemon = await BenchDaemon.start(join(dir, 'own'));
    const cost = await daemon.costOf(() => followed(daemon.client.imagePull(name, '1')));
    ours.push(cost.ms);
    growths.push(cost.rssGrowthBytes);
    await daemon.end();
    const copy = join(dir, 'copy');
    const beganMs = performance.now();
    const from = ['copy', '-q', '--src-tls-verify=false', `docker://${name}:1`];
    await runProgram('skopeo', [...from, `oci:${copy}:1`]);
    await runProgram('umoci', ['unpack', '--image', `${copy}:1`, join(dir, 'bundle')]);
    theirs.push(performance.now() - beganMs);
    for (const made of [copy, join(dir, 'bundle')]) rmSync(made, { recursive: true });
    say(`pull ${cost.ms.toFixed(0)} ms, skopeo and umoci ${theirs.at(-1)!.toFixed(0)} ms`);
  }
  figure('pull_vs_skopeo_ratio', median(ours) / median(theirs));
  figure('pull_rss_growth_mb', Math.max(...growths) / 1e6);
}
