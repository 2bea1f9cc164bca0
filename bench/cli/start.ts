/**
 * How soon the command answers, as wall time of whole processes: its help, and a list over a local
 * socket that a stand-in serves (the daemon's own share is measured elsewhere). Beside it the docker
 * command, where there is one, on the same socket.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';

const RUNS = 15;
const SERVICES = 20;
const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

const serviceJson = (at: number): object => ({
  ID: `${at}`.padStart(25, '0'),
  Version: { Index: 10 + at },
  CreatedAt: '2026-01-01T00:00:00Z',
  UpdatedAt: '2026-01-01T00:00:00Z',
  Spec: {
    Name: `service-${at}`,
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: 'registry.example/app:1' } },
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: { Mode: 'vip' },
  },
  Endpoint: { Spec: { Mode: 'vip' } },
  ServiceStatus: { RunningTasks: 2, DesiredTasks: 2, CompletedTasks: 0 },
});

/** Answers what the two commands ask for on their way to a list. */
async function standIn(socketPath: string): Promise<Server> {
  const services = JSON.stringify(Array.from({ length: SERVICES }, (_, at) => serviceJson(at)));
  const server = createServer((request, response) => {
    response.setHeader('Api-Version', '1.50');
    response.setHeader('Content-Type', 'application/json');
    response.end(/\/services(\?|$)/.test(request.url ?? '') ? services : 'OK');
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return server;
}

/** Wall milliseconds from before the process is made to after it has ended. */
async function wallMs(command: string, args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0 || bytes === 0) throw new Error(`${command} ${args.join(' ')}: ${status}`);
  return performance.now() - startMs;
}

async function medianMs(command: string, args: readonly string[]): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) times.push(await wallMs(command, args));
  return median(times);
}

export async function start(): Promise<void> {
  const socketPath = join(temporaryDirectory('cli'), 'engine.sock');
  const server = await standIn(socketPath);
  const list = ['-H', `unix://${socketPath}`, 'service', 'ls'];
  figure('help_ms', await medianMs(process.execPath, [MAIN, '--help']));
  figure('service_ls_ms', await medianMs(process.execPath, [MAIN, ...list]));
  figure('node_ms', await medianMs(process.execPath, ['-e', 'console.log(1)']));
  try {
    figure('docker_help_ms', await medianMs('docker', ['--help']));
    figure('docker_service_ls_ms', await medianMs('docker', list));
  } catch (err) {
    say(`no docker command to compare with: ${(err as Error).message}`);
  }
  server.close();
}
