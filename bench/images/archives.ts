/** A large archive loaded and saved by a whole daemon: what that takes of its memory and of its loop, which unpacks meanwhile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { BenchDaemon, followed } from './daemon.ts';
import { makeLayer } from './layer.ts';
import { writeLayout } from './layout.ts';

const ROUNDS = 3;

export async function archives(): Promise<void> {
  const dir = temporaryDirectory('archives');
  const layer = await makeLayer(join(dir, 'layer.tar.gz'));
  const layout = writeLayout(join(dir, 'layout'), layer);
  const lags: number[] = [];
  const turns: number[] = [];
  const loads: number[] = [];
  const saves: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const daemon = await BenchDaemon.start(join(dir, 'own'));
    const loading = await daemon.costOf(async () => {
      const tar = spawn('tar', ['-C', layout, '-cf', '-', '.'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(tar, 'close');
      await followed(daemon.client.imageLoad(tar.stdout));
      await ended;
    });
    const [{ Id = '' } = {}] = await daemon.client.images();
    const saving = await daemon.costOf(async () => {
      const away = new Writable({ write: (_chunk, _encoding, done) => done() });
      await pipeline(await daemon.client.imagesSave([Id]), away);
    });
    await daemon.end();
    lags.push(loading.lagMs);
    turns.push(loading.turnMs);
    loads.push(loading.rssGrowthBytes);
    saves.push(saving.rssGrowthBytes);
    say(`load ${loading.ms.toFixed(0)} ms, save ${saving.ms.toFixed(0)} ms`);
  }
  figure('unpack_lag_ms', Math.max(...lags));
  figure('unpack_turn_cpu_ms', Math.max(...turns));
  figure('load_rss_growth_mb', Math.max(...loads) / 1e6);
  figure('save_rss_growth_mb', Math.max(...saves) / 1e6);
}
