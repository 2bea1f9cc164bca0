/** The two engines, each a swarm of one node with the same image: skep's of `skep dev`, Docker's of Debian's packages. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { DockerEngine } from '../../test/differential/docker-engine.ts';
import { Engine } from '../../test/differential/engine.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { runProgram, runSilently, temporaryDirectory } from '../support/cleanup.ts';
import { say } from '../support/report.ts';
import { median } from '../support/statistics.ts';

export const IMAGE = 'skep-bench/busybox:1';

export interface BenchEngine {
  readonly api: Engine;
  readonly socketPath: string;
  /** pid of skepd; null for Docker */
  readonly pid: number | null;
}

/** Runs `use` with skep alone; nothing of it is left afterwards. */
export async function withSkep(use: (skep: BenchEngine) => Promise<void>): Promise<void> {
  const name = `bench${process.pid}`;
  const skep = (...args: readonly string[]) => runProgram('bin/skep', ['dev', ...args]);
  try {
    const up = await skep('up', '--name', name, '--json');
    const { hosts } = JSON.parse(up) as {
      readonly hosts: readonly { readonly socket: string; readonly pid: number }[];
    };
    const { socket, pid } = hosts[0]!;
    await use({ api: new Engine('skep', socket), socketPath: socket, pid });
  } finally {
    await skep('down', '--name', name);
  }
}

/** Runs `use` with both, each with the image. */
export async function withBoth(
  use: (skep: BenchEngine, docker: BenchEngine) => Promise<void>,
): Promise<void> {
  const archive = join(temporaryDirectory('image'), 'image.tar');
  buildBusyboxImage({ name: IMAGE, outTar: archive });
  const docker = new DockerEngine({ storage: 'overlay2', bridge: true });
  try {
    await docker.start();
    await docker.engine.load(createReadStream(archive));
    await withSkep(async (skep) => {
      await skep.api.load(createReadStream(archive));
      await use(skep, { api: docker.engine, socketPath: docker.socketPath, pid: null });
    });
  } finally {
    await docker.stop();
  }
}

/** The docker command against an engine; resolves with what it printed. */
export function docker(engine: BenchEngine, ...args: readonly string[]): Promise<string> {
  return runProgram('docker', ['-H', `unix://${engine.socketPath}`, ...args]);
}

/** Wall milliseconds of the docker command, whose output nobody reads. */
export function dockerMs(engine: BenchEngine, ...args: readonly string[]): Promise<number> {
  return wallMs(() => runSilently('docker', ['-H', `unix://${engine.socketPath}`, ...args]));
}

/** By turns on both, so that what else the machine does is shared; medians, ms. */
export async function compare(
  what: string,
  [skep, peer]: readonly [BenchEngine, BenchEngine],
  rounds: number,
  timed: (engine: BenchEngine, round: number) => Promise<number>,
): Promise<{ readonly skepMs: number; readonly dockerMs: number; readonly ratio: number }> {
  const times: { skep: number[]; docker: number[] } = { skep: [], docker: [] };
  for (let round = 0; round < rounds; round++) {
    times.skep.push(await timed(skep, round));
    times.docker.push(await timed(peer, round));
  }
  const [skepMs, dockerMs] = [median(times.skep), median(times.docker)];
  say(`${what}: ${skepMs.toFixed(1)} ms, ${peer.api.name} ${dockerMs.toFixed(1)} ms`);
  return { skepMs, dockerMs, ratio: skepMs / dockerMs };
}

/** Wall milliseconds of `run`. */
export async function wallMs(run: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await run();
  return performance.now() - beganMs;
}

/** A service that sleeps, as both engines take it. */
export function sleeper(name: string, replicas: number, constraints: readonly string[] = []) {
  return {
    Name: name,
    TaskTemplate: {
      ContainerSpec: { Image: IMAGE, Args: ['sleep', '100000'], StopSignal: 'SIGKILL' },
      Placement: { Constraints: constraints },
    },
    Mode: { Replicated: { Replicas: replicas } },
  };
}
