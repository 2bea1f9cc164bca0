/**
 * A child process for tests: one NetworkManager in the network namespace it was started in, driven
 * by one JSON command per line on standard input. Started by `NetworkLab`.
 */
import { createInterface } from 'node:readline';
import { SystemClock } from '../../common/base/clock.ts';
import { createLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { asId, type NodeId } from '../../common/model/ids.ts';
import { NetworkManager } from '../../worker/network/network-manager.ts';
import { dieAtStep } from './death-at-step.ts';

const [dir = '', nodeId = '', vtepAddress = '', upstream = '', logLevel = 'warn'] =
  process.argv.slice(2);

const manager = new NetworkManager({
  dir,
  nodeId: asId<NodeId>(nodeId),
  vtepAddress,
  clock: new SystemClock(),
  random: new SystemRandom(),
  log: createLogger(logLevel === 'debug' ? 'debug' : 'warn'),
  onFailure: (err) => {
    console.error('manager failed', err);
    process.exit(3);
  },
  upstreamNameservers: () => (upstream === '' ? [] : [upstream]),
});

type Operation =
  | 'start'
  | 'stop'
  | 'apply'
  | 'attachTask'
  | 'adoptTask'
  | 'publishPorts'
  | 'detachTask'
  | 'verify'
  | 'report'
  | 'trace'
  | 'dieAtStep'
  | 'drifts'
  | 'dataPath'
  | 'removeAll';

for await (const line of createInterface({ input: process.stdin })) {
  const { id, operation, args } = JSON.parse(line) as {
    id: number;
    operation: Operation;
    args: unknown[];
  };
  if (operation === 'drifts' || operation === 'dataPath') {
    console.log(JSON.stringify({ id, result: manager[operation] }));
    continue;
  }
  if (operation === 'dieAtStep') {
    dieAtStep(args[0] as number);
    console.log(JSON.stringify({ id, result: null }));
    continue;
  }
  const call = manager[operation] as (...args: unknown[]) => Promise<unknown>;
  call.apply(manager, args).then(
    (result) => console.log(JSON.stringify({ id, result: result ?? null })),
    (err: unknown) => {
      const words =
        err instanceof Error ? `${err.message}: ${String(err.cause ?? '')}` : String(err);
      console.log(
        JSON.stringify({ id, error: words, stack: err instanceof Error ? err.stack : '' }),
      );
    },
  );
}
process.exit(0);
