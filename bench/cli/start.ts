/**
 * How soon the command answers, as wall time of whole processes: its help, and a list over a local
 * socket that a stand-in serves (the daemon's own share is measured elsewhere). Beside it the docker
 * command on the same socket.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { temporaryDirectory } from '../support/cleanup.ts';
import { figure } from '../support/report.ts';
import { dockerCommand } from './docker-command.ts';
import { MAIN, medianMs } from './wall-time.ts';

const SERVICES = 20;

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

export async function start(): Promise<void> {
  const socketPath = join(temporaryDirectory('cli'), 'engine.sock');
  const server = await standIn(socketPath);
  const list = ['-H', `unix://${socketPath}`, 'service', 'ls'];
  figure('help_ms', await medianMs(process.execPath, [MAIN, '--help']));
  figure('service_ls_ms', await medianMs(process.execPath, [MAIN, ...list]));
  figure('node_ms', await medianMs(process.execPath, ['-e', 'console.log(1)']));
  const docker = await dockerCommand();
  if (docker !== null) {
    figure('docker_help_ms', await medianMs(docker, ['--help']));
    figure('docker_service_ls_ms', await medianMs(docker, list));
  }
  server.close();
}
