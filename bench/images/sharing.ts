/** Five daemons in a cluster, three of them managers, that pull one image at once from Debian's docker-registry: how often does
 * that give each blob, by its own access log? */
import { join } from 'node:path';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { FaultProxy } from '../../test/support/fault-proxy.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { push, startRegistry } from '../../test/support/image-registry.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { until } from '../support/wait.ts';
import { missingPeers } from './peers.ts';

const MANAGERS = 3;
const WORKERS = 2;
/** All development clusters' bridges lie in it. */
const SUBNETS = '172.30.0.0/16';
/** Of a layer that does not compress, so that the nodes' pulls overlap. */
const LAYER_BYTES = 20_000_000;

export async function sharing(): Promise<void> {
  const missing = missingPeers();
  if (missing !== null) {
    say(missing);
    return;
  }
  const dir = temporaryDirectory('sharing');
  const registry = await startRegistry({ dir: join(dir, 'registry') });
  const door = new FaultProxy(registry.host);
  const name = `bench${process.pid}`;
  const dev = (...args: readonly string[]) => runProgram('bin/skep', ['dev', ...args]);
  try {
    const sizes = ['--managers', `${MANAGERS}`, '--workers', `${WORKERS}`];
    const insecure = ['--insecure-registry', SUBNETS];
    const up = await dev('up', '--name', name, ...sizes, ...insecure, '--json');
    const [first] = (JSON.parse(up) as { hosts: { address: string; socket: string }[] }).hosts;
    await door.start(first!.address.replace(/\.\d+$/, '.1'));
    const outTar = join(dir, 'image.tar');
    const files = { data: Buffer.from(new SeededRandom(1).bytes(LAYER_BYTES)) };
    buildBusyboxImage({ name: 'app:1', outTar, cmd: ['sleep', '1000000'], files });
    push(registry, outTar, 'app:1');
    await runEverywhere(`unix://${first!.socket}`, `${door.host}/app:1`);
    figure('blob_served_times', Math.max(...registry.blobsServed('app').values()));
  } finally {
    await dev('down', '--name', name);
    await door.stop();
    await registry.stop();
  }
}

/** Resolves when a task of the image runs on each node. */
async function runEverywhere(endpoint: string, image: string): Promise<void> {
  const client = new EngineClient(endpoint);
  try {
    await client.serviceCreate({
      Name: 'app',
      Mode: { Global: {} },
      TaskTemplate: { ContainerSpec: { Image: image } },
    });
    await until(
      'a task runs on each node',
      async () => {
        const tasks = await client.tasks({ service: ['app'] });
        return (
          tasks.filter(({ Status }) => Status.State === 'running').length === MANAGERS + WORKERS
        );
      },
      { limitMs: 60_000 },
    );
  } finally {
    client.close();
  }
}
