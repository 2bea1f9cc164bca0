/**
 * A process with a real manager on a real directory that writes, takes snapshots and changes its key
 * without end, until it kills itself (SIGKILL) at a given operation of its disk. Started by
 * `crash-points.test.ts`, bundled into one file. Speaks lines of JSON on its standard output.
 *
 * Its data is a counter: the n-th transaction writes n into a config. So what a new life finds tells
 * which transactions are there.
 */
import { readFileSync, writeSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { SystemClock } from '../../common/base/clock.ts';
import { hasCode } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { asId, type ConfigId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import type { NewCluster } from '../../manager/ca/bootstrap.ts';
import { Manager } from '../../manager/manager.ts';
import type { ManagerOrigin } from '../../manager/manager-options.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import { type FatalPoint, type FatalTarget, fatalDisk } from './fatal-disk.ts';

/** `ordinal` 0: ends in order, once nothing is left under an old key. */
export interface CrashRequest extends FatalTarget {
  readonly dataDir: string;
  /** file with the `NewCluster`, serialized by node:v8 */
  readonly clusterFile: string;
}

export type CrashReport =
  /** `count` transactions were found. */
  | { readonly kind: 'started'; readonly count: number }
  | { readonly kind: 'acknowledged'; readonly count: number }
  | { readonly kind: 'dying'; readonly point: FatalPoint }
  | { readonly kind: 'stopped' };

/** Time for an acknowledgement that should have waited for the operation to get out. */
const LAST_WORDS_MS = 4;
const KEY_EVERY = 9;
const PAYLOAD = Buffer.alloc(900, 'x');
const COUNTER = asId<ConfigId>('counter');
const RAFT = {
  snapshotIntervalEntries: 7,
  keepEntries: 5,
  segmentBytes: 24 * 1024,
  smallSegmentBytes: 16 * 1024,
};

const request = JSON.parse(process.argv[2]!) as CrashRequest;
const cluster = deserialize(readFileSync(request.clusterFile)) as NewCluster;
const clock = new SystemClock();
const random = new SystemRandom();

/** Synchronous: what was told is told even if the process dies with the next statement. */
function report(line: CrashReport): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

function fail(err: unknown): void {
  writeSync(2, `${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
  process.exit(1);
}

function create(): Manager {
  const credentials = new IdentityHolder(cluster.identity);
  const { nodeId, clusterId } = cluster.identity;
  const disk = fatalDisk(new NodeDisk(), request, async (point) => {
    await clock.sleep(LAST_WORDS_MS);
    report({ kind: 'dying', point });
    process.kill(process.pid, 'SIGKILL');
    for (;;); // the signal is on its way: nothing more is done
  });
  return new Manager({
    ...{ dataDir: request.dataDir, nodeId, clusterId, disk, clock, random, log: silentLogger },
    address: '127.0.0.1:2377', // nothing listens: a single manager calls nobody
    server: new RpcServer({ credentials, clock, logger: silentLogger, onFailure: fail }),
    pool: new RpcClientPool({ credentials, clock }),
    credentials,
    raft: RAFT,
    onFailure: fail,
    onRemoved: () => fail('removed'),
  });
}

/** As a daemon does: what was never completed is begun anew. */
async function start(): Promise<Manager> {
  const restart: ManagerOrigin = {
    ...{ kind: 'restart', forceNewCluster: false },
    managerAddresses: [],
  };
  if (await Manager.hasState(new NodeDisk(), request.dataDir)) {
    const manager = create();
    try {
      await manager.start(restart);
      return manager;
    } catch (err) {
      if (!hasCode(err, 'not-in-swarm')) throw err;
    }
  }
  const manager = create();
  await manager.start({ kind: 'bootstrap', cluster });
  return manager;
}

function countIn({ store }: Manager): number {
  const config = store.view((view) => view.get('config', COUNTER));
  return config === undefined ? 0 : Number(config.spec.labels['count']);
}

async function write(manager: Manager, count: number): Promise<void> {
  await manager.store.update((tx) => {
    const labels = { count: String(count) };
    const spec = { name: 'counter', labels, data: PAYLOAD, templateDriver: '' };
    const current = tx.get('config', COUNTER);
    if (current === undefined) tx.create('config', { id: COUNTER, meta: UNSTAMPED, spec });
    else tx.update('config', { ...current, spec });
  });
}

async function main(): Promise<void> {
  setInterval(() => {}, 1000); // our clock's timers alone do not keep a process alive
  const manager = await start();
  let count = countIn(manager);
  report({ kind: 'started', count });
  for (let life = 1; request.ordinal > 0 || life <= 2 * KEY_EVERY; life++) {
    if (life % KEY_EVERY === 2) await manager.rotateKey();
    await write(manager, ++count);
    report({ kind: 'acknowledged', count });
  }
  while (manager.raftStatus().keyRotation) await clock.sleep(20);
  await manager.stop();
  report({ kind: 'stopped' });
  process.exit(0);
}

main().catch(fail);
