/** `docker run -d` on the bridge of the node. */
import { figure } from '../support/report.ts';
import { type BenchEngine, compare, docker, IMAGE, wallMs, withBoth } from './engines.ts';

const ROUNDS = 15;

export async function run(): Promise<void> {
  await withBoth(async (skep, peer) => {
    const timed = async (engine: BenchEngine) => {
      let id = '';
      const ms = await wallMs(async () => {
        id = (await docker(engine, 'run', '-d', IMAGE, 'sleep', '100000')).trim();
      });
      await docker(engine, 'rm', '-f', id);
      return ms;
    };
    const { skepMs, ratio } = await compare('docker run -d', [skep, peer], ROUNDS, timed);
    figure('docker_run_d_ms', skepMs);
    figure('docker_run_d_vs_dockerd_ratio', ratio);
  });
}
