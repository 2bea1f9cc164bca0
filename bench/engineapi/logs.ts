/** `docker logs` of a container that wrote 100 MB of lines. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { figure, say } from '../support/report.ts';
import { type BenchEngine, compare, docker, IMAGE, withBoth } from './engines.ts';

const BYTES = 100_000_000;
const ROUNDS = 5;
const LINE = 'x'.repeat(99);
const WRITES = `yes ${LINE} | head -c ${BYTES}`;
const RUN = ['run', '--name', 'writer'] as const;
/** the whole of it is kept, over what an engine keeps by itself */
const KEEP = ['--log-opt', 'max-size=1g'] as const;

export async function logs(): Promise<void> {
  await withBoth(async (skep, peer) => {
    for (const engine of [skep, peer]) await write(engine);
    const timed = async (engine: BenchEngine) => {
      const { ms, bytes } = await read(engine);
      if (bytes < BYTES) say(`${engine.api.name} kept ${bytes} bytes: counted by the byte`);
      return (ms / bytes) * BYTES;
    };
    const { skepMs, ratio } = await compare('docker logs', [skep, peer], ROUNDS, timed);
    figure('logs_100mb_ms', skepMs);
    figure('logs_100mb_vs_dockerd_ratio', ratio);
    for (const engine of [skep, peer]) await docker(engine, 'rm', '-f', 'writer');
  });
}

async function write(engine: BenchEngine): Promise<void> {
  const command = [IMAGE, 'sh', '-c', WRITES];
  try {
    await docker(engine, ...RUN, '-d', ...KEEP, ...command);
  } catch (err) {
    say(`${engine.api.name} keeps what it keeps: ${err instanceof Error ? err.message : ''}`);
    await docker(engine, 'rm', '-f', 'writer').catch(() => {});
    await docker(engine, ...RUN, '-d', ...command);
  }
  await docker(engine, 'wait', 'writer');
}

/** Nothing but the command itself stands between the engine and the count. */
async function read({ socketPath }: BenchEngine): Promise<{ ms: number; bytes: number }> {
  const beganMs = performance.now();
  const child = spawn('docker', ['-H', `unix://${socketPath}`, 'logs', 'writer'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0 || bytes === 0) throw new Error(`docker logs: status ${status}`);
  return { ms: performance.now() - beganMs, bytes };
}
