/**
 * From a task's death until its endpoint is gone from the rules of five hosts: a whole cluster on this machine
 * (`skep dev`), tasks killed one by one, the kernel of each host asked again and again.
 */
import { join } from 'node:path';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { NFPROTO_IPV4 } from '../../native/ffi/net/nft.ts';
import { readTable } from '../../native/ffi/net/nft-state.ts';
import { NETLINK_NETFILTER, NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { figure } from '../support/report.ts';
import { percentile } from '../support/statistics.ts';
import { sleepMs, until } from '../support/wait.ts';

const IMAGE = 'skep-bench/busybox:1';
const TASKS = 5;
const DEATHS = 20;
const LOOK_MS = 5;

interface Host {
  readonly socket: string;
  readonly netns: string;
}

export async function death(): Promise<void> {
  const name = `bench${process.pid}`;
  const skep = (...args: readonly string[]) => runProgram('bin/skep', ['dev', ...args]);
  const imageTar = join(temporaryDirectory('death'), 'image.tar');
  buildBusyboxImage({ name: IMAGE, outTar: imageTar });
  try {
    const up = await skep('up', '--name', name, '--managers', '1', '--workers', '4', '--json');
    const { hosts } = JSON.parse(up) as { readonly hosts: readonly Host[] };
    await skep('load', '--name', name, imageTar);
    await measure(hosts);
  } finally {
    await skep('down', '--name', name);
  }
}

async function measure(hosts: readonly Host[]): Promise<void> {
  const client = new EngineClient(`unix://${hosts[0]?.socket}`);
  const { ID } = await client.serviceCreate({
    Name: 'web',
    TaskTemplate: {
      ContainerSpec: { Image: IMAGE, Command: ['sleep', '100000'] },
      RestartPolicy: { Condition: 'any', Delay: 100e6 },
    },
    Mode: { Replicated: { Replicas: TASKS } },
    EndpointSpec: { Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080 }] },
  });
  const sockets: NetlinkSocket[] = [];
  for (const { netns } of hosts) {
    sockets.push(await NetlinkSocket.open(`/run/netns/${netns}`, NETLINK_NETFILTER));
  }
  const timesMs: number[] = [];
  for (let i = 0; i < DEATHS; i++) {
    await until('all tasks serve everywhere', async () => {
      const sizes = await Promise.all(sockets.map(async (it) => (await backends(it, ID)).size));
      return sizes.every((size) => size === TASKS);
    });
    timesMs.push(await die(client, sockets, ID, i));
  }
  for (const socket of sockets) await socket.close();
  figure('dead_endpoint_gone_p50_ms', percentile(timesMs, 0.5));
  figure('dead_endpoint_gone_p95_ms', percentile(timesMs, 0.95));
}

/** Kills a task; how long until no host has its address. */
async function die(
  client: EngineClient,
  sockets: readonly NetlinkSocket[],
  serviceId: string,
  turn: number,
): Promise<number> {
  const tasks = await client.tasks({ service: ['web'], 'desired-state': ['running'] });
  const running = tasks.filter(({ Status }) => Status?.State === 'running');
  const task = running[turn % running.length];
  const pid = task?.Status?.ContainerStatus?.PID ?? 0;
  const address = task?.NetworksAttachments?.[0]?.Addresses?.[0]?.split('/')[0] ?? '';
  if (pid <= 0 || address === '') throw new Error(`no task to be killed: ${JSON.stringify(task)}`);
  const bytes = Buffer.from(address.split('.').map(Number)).toString('hex');
  const beganMs = performance.now();
  process.kill(pid, 'SIGKILL');
  await Promise.all(
    sockets.map(async (socket) => {
      while ((await backends(socket, serviceId)).has(bytes)) await sleepMs(LOOK_MS);
    }),
  );
  return performance.now() - beganMs;
}

/** Addresses, in hexadecimal, that a host sends the service's connections to. */
async function backends(socket: NetlinkSocket, serviceId: string): Promise<Set<string>> {
  const { elements } = await readTable(socket, NFPROTO_IPV4, 'skep');
  const values = elements.get(`backends_${serviceId}`) ?? [];
  return new Set(
    values.map((element) => (element.get(2) ?? Buffer.alloc(0)).subarray(4).toString('hex')),
  );
}
