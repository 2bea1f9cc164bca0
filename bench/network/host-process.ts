/** One host: the network manager of a node, in the network namespace that this process was started in. */
import { SystemClock } from '../../common/base/clock.ts';
import { createLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import { asId, type NodeId, type TaskId } from '../../common/model/ids.ts';
import { NetworkManager } from '../../worker/network/network-manager.ts';
import type { TaskNetworkRequest } from '../../worker/network/task-request.ts';
import { serve } from '../support/helper-process.ts';

let networks: NetworkManager | null = null;

/** How long `work` took, ms. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
}

function started(): NetworkManager {
  if (!networks) throw new Error('the host was not started');
  return networks;
}

const operations = {
  async start(host: { dir: string; nodeId: string; address: string }): Promise<void> {
    networks = new NetworkManager({
      dir: host.dir,
      nodeId: asId<NodeId>(host.nodeId),
      vtepAddress: host.address,
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: createLogger('warn'),
      onFailure: (err) => {
        throw err;
      },
      upstreamNameservers: () => [],
    });
    await networks.start();
  },
  apply(set: { changes: readonly AssignmentChange[]; complete: boolean }): Promise<number> {
    return timed(() => started().apply(set.changes, set.complete));
  },
  attach(request: TaskNetworkRequest): Promise<number> {
    return timed(() => started().attachTask(request));
  },
  detach(taskId: string): Promise<number> {
    return timed(() => started().detachTask(asId<TaskId>(taskId)));
  },
  verify(): Promise<number> {
    return timed(() => started().verify(false));
  },
  /** CPU of this process so far, ms. */
  cpuMs(): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  async leave(): Promise<void> {
    await started().removeAll();
  },
};

export type HostOperations = typeof operations;

serve(operations);
