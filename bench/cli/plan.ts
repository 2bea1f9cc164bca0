/**
 * The plan of a stack of 200 services that runs already on 100 nodes, one of which changed: wall time of the whole
 * command, from its start to its end, with the reading of the file, the manager's answer, and where tasks would land.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure, say } from '../support/report.ts';
import type { EngineOperations } from './engine-process.ts';
import { linesFor, stackText } from './stack-text.ts';
import { commandMs, MAIN, medianMs } from './wall-time.ts';

const SERVICES = 200;
const NODES = 100;
const ENGINE = fileURLToPath(new URL('./engine-process.js', import.meta.url));

export async function plan(): Promise<void> {
  const dir = temporaryDirectory('plan');
  const socketPath = join(dir, 'engine.sock');
  const file = join(dir, 'stack.yml');
  const engine = new HelperProcess<EngineOperations>(ENGINE);
  await engine.ask('listen', socketPath);
  const text = stackText(linesFor(SERVICES));
  writeFileSync(file, text);
  const host = ['-H', `unix://${socketPath}`];
  const rest = ['-c', file, '--resolve-image', 'never', 'bench'];
  await commandMs(process.execPath, [MAIN, ...host, 'stack', 'deploy', '--detach', ...rest]);
  const tasks = await engine.ask('populate', NODES);
  writeFileSync(file, text.replace('MODE: production', 'MODE: trial'));
  const ask = [MAIN, ...host, 'stack', 'deploy', '--plan', ...rest];
  say(`${SERVICES} services, ${tasks} tasks on ${NODES} nodes`);
  figure('plan_200_services_ms', await medianMs(process.execPath, ask));
  await engine.kill();
}
