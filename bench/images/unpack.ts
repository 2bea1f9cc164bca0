/** One large layer unpacked, against `tar -xzf` of the same file on the same disk, in turns. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { makeLayer } from './layer.ts';
import type { StoreOperations } from './store-process.ts';

const ROUNDS = 3;

function newStoreProcess(): HelperProcess<StoreOperations> {
  return new HelperProcess(fileURLToPath(new URL('./store-process.js', import.meta.url)));
}

export async function unpack(): Promise<void> {
  const dir = temporaryDirectory('unpack');
  const layer = await makeLayer(join(dir, 'layer.tar.gz'));
  say(`layer of ${(layer.sizeBytes / 1e6).toFixed(0)} MB`);
  const store = newStoreProcess();
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const own = join(dir, 'own');
    const ms = await store.ask('unpack', {
      blobPath: layer.path,
      diffId: layer.diffId,
      targetDir: own,
    });
    ours.push(ms);
    rmSync(own, { recursive: true });
    const tar = join(dir, 'tar');
    mkdirSync(tar);
    const beganMs = performance.now();
    await runProgram('tar', ['-xzf', layer.path, '-C', tar]);
    theirs.push(performance.now() - beganMs);
    rmSync(tar, { recursive: true });
    say(`unpack ${ms.toFixed(0)} ms, tar ${theirs.at(-1)!.toFixed(0)} ms`);
  }
  figure('unpack_vs_tar_ratio', median(ours) / median(theirs));
}
