/**
 * Three managers on this machine, each in its own network namespace (`skep dev`), through the Engine API: a
 * service of 1 task becomes one of 50, goes, and an exec from the client's view.
 */
import { join } from 'node:path';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { until } from '../support/wait.ts';
import { IMAGE } from './bench-task.ts';

const HOSTS = 3;
const TASKS = 50;
const ROUNDS = 3;
const EXECS = 50;
const LOOK_MS = 10;
const NO_STREAMS = { AttachStdin: false, AttachStdout: false, AttachStderr: false, Tty: false };

export async function cluster(): Promise<void> {
  const name = `bench${process.pid}`;
  const skep = (...args: readonly string[]) => runProgram('bin/skep', ['dev', ...args]);
  const imageTar = join(temporaryDirectory('cluster'), 'image.tar');
  buildBusyboxImage({ name: IMAGE, outTar: imageTar });
  try {
    const up = await skep('up', '--name', name, '--managers', `${HOSTS}`, '--json');
    const { hosts } = JSON.parse(up) as { readonly hosts: readonly { readonly socket: string }[] };
    await skep('load', '--name', name, imageTar);
    await measure(hosts.map(({ socket }) => new EngineClient(`unix://${socket}`)));
  } finally {
    await skep('down', '--name', name);
  }
}

async function measure(clients: readonly EngineClient[]): Promise<void> {
  const [client] = clients;
  if (!client) throw new Error('no hosts');
  await client.networkCreate({ Name: 'bench', Driver: 'overlay' });
  const rates: number[] = [];
  const removals: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { ID } = await client.serviceCreate(service());
    await until('the first task runs', async () => (await running(client)) === 1);
    if (round === 0) figure('exec_first_byte_ms', await firstByteMs(clients));
    rates.push(TASKS / (await scale(client, ID)));
    removals.push(await remove(clients, ID));
    say(`${rates.at(-1)?.toFixed(0)} tasks/s, removed in ${removals.at(-1)?.toFixed(2)} s`);
  }
  figure('scale_50_tasks_per_s', median(rates));
  figure('rm_50_s', median(removals));
}

const service = () => ({
  Name: 'bench',
  TaskTemplate: {
    // Obeys SIGTERM: the shell as pid 1 has a handler.
    ContainerSpec: {
      Image: IMAGE,
      Command: ['sh', '-c', "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"],
    },
    Networks: [{ Target: 'bench' }],
  },
  Mode: { Replicated: { Replicas: 1 } },
});

async function running(client: EngineClient): Promise<number> {
  const tasks = await client.tasks({ service: ['bench'] });
  return tasks.filter(({ Status }) => Status?.State === 'running').length;
}

/** Seconds until all of them run. */
async function scale(client: EngineClient, id: string): Promise<number> {
  const { Version, Spec } = await client.service(id);
  const beganMs = performance.now();
  const more = { ...Spec, Mode: { Replicated: { Replicas: TASKS } } };
  await client.serviceUpdate(id, Version.Index, more);
  const all = async () => (await running(client)) === TASKS;
  await until(`${TASKS} tasks run`, all, { limitMs: 120_000, periodMs: LOOK_MS });
  return (performance.now() - beganMs) / 1000;
}

/** Seconds until neither a task nor a container is left anywhere. */
async function remove(clients: readonly EngineClient[], id: string): Promise<number> {
  const beganMs = performance.now();
  await clients[0]?.serviceRemove(id);
  const nothing = async () => {
    const left = await Promise.all(clients.map((client) => client.containers({ all: true })));
    return left.every((containers) => containers.length === 0);
  };
  await until('nothing is left', nothing, { limitMs: 60_000, periodMs: LOOK_MS });
  return (performance.now() - beganMs) / 1000;
}

/** Of `echo` in the one container, from the request that makes the exec; median, ms. */
async function firstByteMs(clients: readonly EngineClient[]): Promise<number> {
  for (const client of clients) {
    const [container] = await client.containers({ all: false });
    if (!container) continue;
    const times: number[] = [];
    for (let i = 0; i < EXECS; i++) {
      const beganMs = performance.now();
      const request = { ...NO_STREAMS, AttachStdout: true, Cmd: ['echo'] };
      const { Id } = await client.execCreate(container.Id, request);
      const { socket, head } = await client.execAttach(Id, false);
      if (head.length === 0) {
        await new Promise<void>((resolve) => socket.once('data', () => resolve()));
      }
      times.push(performance.now() - beganMs);
      socket.destroy();
    }
    return median(times);
  }
  throw new Error('no host has the container');
}
