// A node's daemon is killed under a crowd of tasks, of which half end while nobody looks: the next one takes up the others as
// they are, reports how those ended, and of nobody's lines any is lost. SKEP_PROOFS=full has the crowd of issue 5.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { framesOf } from '../../cli/client/frames.ts';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const CROWD = process.env['SKEP_PROOFS'] === 'full' ? 500 : 30;
/** On a machine where all of them start at once. */
const LONG_MS = 15_000 + 400 * CROWD;
const EXIT_CODE = 7;
const SCRIPT = `i=0; while [ ! -e /end ]; do echo $i; i=$((i+1)); sleep 1; done; exit ${EXIT_CODE}`;

interface SeenTask {
  readonly state: string;
  readonly pid: number;
  readonly exitCode: number;
  readonly containerId: string;
}

describe.skipIf(!clusterTestsCanRun)('a daemon that is killed under a crowd', () => {
  const shared = useCluster('adopt', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  async function seen(client: EngineClient): Promise<ReadonlyMap<string, SeenTask>> {
    const tasks = await client.tasks({ service: ['crowd'] });
    return new Map(
      tasks.map(({ ID, Status }) => [
        ID,
        {
          state: Status.State,
          pid: Status.ContainerStatus?.PID ?? 0,
          exitCode: Status.ContainerStatus?.ExitCode ?? 0,
          containerId: Status.ContainerStatus?.ContainerID ?? '',
        },
      ]),
    );
  }

  async function linesOf(client: EngineClient, containerId: string): Promise<string[]> {
    const lines: string[] = [];
    for await (const { data } of framesOf(await client.logs('containers', containerId, {}))) {
      lines.push(Buffer.from(data).toString().trimEnd());
    }
    return lines;
  }

  test('leaves it to the next one, with the ends that nobody saw and every line', {
    timeout: 60_000 + 4 * LONG_MS,
  }, async () => {
    const { current } = shared;
    const [host] = current.hosts;
    const client = new EngineClient(`unix://${host!.daemonSocket}`);
    await current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'crowd'],
      ...['--replicas', `${CROWD}`, '--restart-condition', 'none', '--stop-signal', 'SIGKILL'],
      ...[IMAGE, 'sh', '-c', SCRIPT],
    ]);
    await current.running('crowd', CROWD, { withinMs: LONG_MS });
    const before = await seen(client);
    const ids = [...before.keys()];
    const ending = new Set(ids.filter((_, i) => i % 2 === 0));
    const endNow = (id: string): void => writeFileSync(`/proc/${before.get(id)!.pid}/root/end`, '');

    await current.dev('kill', host!.name);
    for (const id of ending) endNow(id);
    await eventually(
      'half of them have ended',
      () =>
        expect([...ending].filter((id) => existsSync(`/proc/${before.get(id)!.pid}`))).toEqual([]),
      { withinMs: LONG_MS },
    );
    await current.dev('start', host!.name);

    const ended = { state: 'failed', exitCode: EXIT_CODE };
    await eventually(
      'their ends are reported',
      async () => {
        const now = await seen(client);
        for (const id of ending) expect(now.get(id), id).toMatchObject(ended);
      },
      { withinMs: LONG_MS },
    );
    const after = await seen(client);
    for (const id of ids) {
      const { pid } = before.get(id)!;
      if (!ending.has(id)) expect(after.get(id), id).toMatchObject({ state: 'running', pid });
    }
    expect([...after.keys()].sort()).toEqual([...ids].sort());

    for (const id of ids) if (!ending.has(id)) endNow(id);
    await eventually(
      'the others end as they are told',
      async () => {
        const now = await seen(client);
        for (const id of ids) expect(now.get(id), id).toMatchObject(ended);
      },
      { withinMs: LONG_MS },
    );
    for (const id of ids) {
      const lines = await linesOf(client, before.get(id)!.containerId);
      expect(lines.length, id).toBeGreaterThan(0);
      expect(lines, id).toEqual(lines.map((_, i) => `${i}`)); // none lost, none twice
    }
    console.log(adoptionWords(current.name, host!.name));
    await current.skep(['service', 'rm', '-d', 'crowd']);
  });
});

/** How long it took, as the daemon tells. */
function adoptionWords(cluster: string, host: string): string {
  const log = readFileSync(join('/var/lib/skep-dev', cluster, host, 'skepd.log'), 'utf8');
  return log.split('\n').find((line) => line.includes('containers adopted')) ?? 'no word of it';
}
