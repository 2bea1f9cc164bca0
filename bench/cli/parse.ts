/**
 * A stack file of 10,000 lines: from its text to the specs of its services, everything checked. In
 * fresh processes, because a command is one; and warm, for what a longer one would see.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { dockerCommand } from './docker-command.ts';
import type { ParseOperations } from './parse-process.ts';
import { stackText } from './stack-text.ts';
import { MAIN, medianMs } from './wall-time.ts';

const LINES = 10_000;
const PROCESSES = 7;
const WARM_LOADS = 20;
const PROCESS = fileURLToPath(new URL('./parse-process.js', import.meta.url));

export async function parse(): Promise<void> {
  const text = stackText(LINES);
  const cold: number[] = [];
  let warm: number[] = [];
  for (let round = 0; round < PROCESSES; round++) {
    const helper = new HelperProcess<ParseOperations>(PROCESS);
    cold.push(await helper.ask('load', text));
    if (round === 0) {
      for (let load = 0; load < WARM_LOADS; load++) warm.push(await helper.ask('load', text));
      warm = warm.slice(WARM_LOADS / 2);
    }
    await helper.kill();
  }
  figure('parse_10k_lines_ms', median(cold));
  figure('parse_10k_lines_warm_ms', median(warm));
  await besideDocker(text);
}

/** Both commands read, merge and print the same file: wall time of the whole processes. */
async function besideDocker(text: string): Promise<void> {
  const file = join(temporaryDirectory('parse'), 'stack.yml');
  writeFileSync(file, text);
  const config = ['stack', 'config', '-c', file];
  figure('config_10k_lines_ms', await medianMs(process.execPath, [MAIN, ...config]));
  const docker = await dockerCommand();
  if (docker !== null) figure('docker_config_10k_lines_ms', await medianMs(docker, config));
}
