/**
 * Debian's Docker Swarm on two hosts of the lab, as it comes (with the rules that it writes for itself on each host), with a
 * container on each in an overlay network: what is measured between our tasks is measured between these.
 */
import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DockerEngine } from '../../test/differential/docker-engine.ts';
import type { Engine } from '../../test/differential/engine.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { until } from '../support/wait.ts';
import type { Lab } from './lab.ts';

const IMAGE = 'skep-bench/busybox:1';
const NETWORK = 'bench';
const HOSTS = ['172.30.78.201', '172.30.78.202'] as const;
const LIMIT_MS = 60_000;

export interface DockerOverlay {
  /** path of the namespace of a container on the first host, and of one on the second */
  readonly client: string;
  readonly server: string;
  /** of the second, in the overlay network */
  readonly address: string;
  stop(): Promise<void>;
}

/** Rejects with `NoEngine` where Docker cannot be had or does not run; nothing stays then. */
export async function dockerOverlay(lab: Lab): Promise<DockerOverlay> {
  const engines: DockerEngine[] = [];
  const stop = async (): Promise<void> => {
    for (const engine of engines.reverse()) await engine.stop();
  };
  try {
    for (const [i, address] of HOSTS.entries()) {
      const host = { netns: await lab.bareHost(`d${i}`, address), address };
      const shared = engines[0] ? { programs: engines[0] } : {};
      engines.push(new DockerEngine({ storage: 'overlay2', bridge: true, host, ...shared }));
    }
    const [first, second] = engines as [DockerEngine, DockerEngine];
    await first.start();
    await second.begin();
    await joinSwarm(first, second);
    const archive = join(temporaryDirectory('image'), 'image.tar');
    buildBusyboxImage({ name: IMAGE, outTar: archive });
    for (const { engine } of engines) await engine.load(createReadStream(archive));
    const network = { Name: NETWORK, Driver: 'overlay', Attachable: true, CheckDuplicate: true };
    await done(first.engine, '/networks/create', network);
    const [client, server] = [await container(first.engine), await container(second.engine)];
    return { client: client.netns, server: server.netns, address: server.address, stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

async function joinSwarm(first: DockerEngine, second: DockerEngine): Promise<void> {
  const swarm = await first.engine.get<{ JoinTokens: { Manager: string } }>('/swarm');
  await done(second.engine, '/swarm/join', {
    ...{ ListenAddr: `${second.address}:2377`, AdvertiseAddr: second.address },
    ...{ RemoteAddrs: [`${first.address}:2377`], JoinToken: swarm.JoinTokens.Manager },
  });
}

/** One that sleeps in the overlay network. */
async function container(engine: Engine) {
  const body = {
    Image: IMAGE,
    Cmd: ['sleep', '100000'],
    StopSignal: 'SIGKILL',
    HostConfig: { NetworkMode: NETWORK },
  };
  const { Id } = (await done(engine, '/containers/create', body)) as { Id: string };
  await done(engine, `/containers/${Id}/start`);
  const { State, NetworkSettings } = await engine.get<ContainerJson>(`/containers/${Id}/json`);
  const netns = `/proc/${State.Pid}/ns/net`;
  await until('its namespace is there', async () => existsSync(netns), { limitMs: LIMIT_MS });
  return { netns, address: NetworkSettings.Networks[NETWORK]!.IPAddress };
}

interface ContainerJson {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>>;
  };
}

/** What it answers; throws unless it did as it was told. */
async function done(engine: Engine, path: string, body: object = {}): Promise<unknown> {
  const { status, body: answer } = await engine.call('POST', path, body);
  if (status >= 300)
    throw new Error(`docker: ${path} answered ${status} ${JSON.stringify(answer)}`);
  return answer;
}
