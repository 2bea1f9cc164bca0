/** Wall time of whole processes, the command for one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { median } from '../support/statistics.ts';

const RUNS = 15;
/** the command as it is built */
export const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

/** Wall milliseconds from before the process is made to after it has ended. */
export async function commandMs(command: string, args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0 || bytes === 0) {
    throw new Error(`${command} ${args.join(' ')}: ${status} ${Buffer.concat(said).toString()}`);
  }
  return performance.now() - startMs;
}

export async function medianMs(command: string, args: readonly string[]): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) times.push(await commandMs(command, args));
  return median(times);
}
