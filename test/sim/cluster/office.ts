/**
 * Manager or worker: how a machine learns what it is to be and becomes it, as `daemon/membership.ts` does.
 * A certificate is here no more than the role that the leader grants, written as the CA writes it.
 */
import { hasCode, SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { SeededRandom } from '../../../common/base/random.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { type Codec, unary } from '../../../common/rpc/method.ts';
import { RoleFollower } from '../../../daemon/role-follower.ts';
import { Manager } from '../../../manager/manager.ts';
import type { Daemon } from './host.ts';
import type { SimRpcPool } from './rpc-client.ts';
import type { SimRpcServer } from './rpc-server.ts';

const words: Codec<string> = {
  encode: (text) => new TextEncoder().encode(text),
  decode: (bytes) => new TextDecoder().decode(bytes),
};

/** In place of `issueNodeCertificate` for a node that renews. */
const grantRole = unary<string, string>({
  path: '/sim.Office/GrantRole',
  roles: ['worker', 'manager'],
  request: words,
  response: words,
});

/** Serves what the CA of a leader would answer. */
export function serveGrants(server: SimRpcServer, manager: () => Manager | null): void {
  server.handleUnary(grantRole, async (_, { peer, signal }) => {
    const leader = manager();
    if (!leader?.isLeader()) throw new SkepError('not-leader', 'grant a role: not the leader');
    return leader.store.update((tx) => {
      const node = tx.get('node', peer.nodeId ?? '');
      if (!node) throw new SkepError('permission-denied', 'this node was removed from swarm');
      tx.update('node', node); // a write as that of a certificate: only a true leader can
      return node.role;
    }, signal);
  });
}

export interface OfficeOptions {
  readonly daemon: Daemon;
  readonly dataDir: string;
  readonly random: SeededRandom;
  /** Addresses of those that it knows. */
  readonly managers: () => readonly string[];
  /** The daemon has this certificate from now on. */
  readonly granted: (role: NodeRole) => void;
  /** Starts a manager that joins the others. */
  readonly join: (signal: AbortSignal) => Promise<void>;
}

/** Of one life of a daemon. */
export function takeOffice(options: OfficeOptions): RoleFollower {
  const { daemon, random } = options;
  const { clock, background: tasks } = daemon;
  return new RoleFollower({
    plays: () => (daemon.isManaging && !daemon.manager?.removed ? 'manager' : 'worker'),
    renew: async (signal) => {
      const role = await askForRole(daemon.pool, options.managers(), signal);
      options.granted(role);
      return role;
    },
    become: (role, signal) => become(options, role, signal),
    ...{ tasks, clock, random, log: silentLogger },
  });
}

async function become(options: OfficeOptions, role: NodeRole, signal: AbortSignal): Promise<void> {
  const { daemon, dataDir, join } = options;
  await daemon.starting;
  const { manager } = daemon;
  if (role === 'manager' && daemon.isManaging && !manager?.removed) return;
  daemon.manager = null;
  daemon.isManaging = false;
  await manager?.stop();
  await Manager.removeState(daemon.disk, dataDir);
  if (role === 'manager') await join(signal);
}

/** The role that the managers grant now. Rejects with `permission-denied` when this node is none of the cluster's. */
async function askForRole(
  pool: SimRpcPool,
  managers: readonly string[],
  signal: AbortSignal,
): Promise<NodeRole> {
  let failure: unknown = new SkepError('unavailable', 'renew certificate: no manager is known');
  for (const address of managers) {
    signal.throwIfAborted();
    try {
      return (await pool.client(address).unary(grantRole, 'renew', { signal })) as NodeRole;
    } catch (err) {
      signal.throwIfAborted();
      failure = err;
      if (hasCode(err, 'permission-denied')) break;
    }
  }
  throw failure;
}
