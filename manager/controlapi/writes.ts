/** Every write of the control API by verb: what it does on the leader. The verbs are those of the RPC. */
import type { Random } from '../../common/base/random.ts';
import type {
  controlMethods,
  ManagerStatus,
  RemoveRequest,
} from '../../common/rpc/control-methods.ts';
import type { UnaryMethod } from '../../common/rpc/method.ts';
import type { Store, WriteTx } from '../store/types.ts';
import { updateCluster } from './cluster.ts';
import {
  createConfig,
  createSecret,
  removeConfig,
  removeSecret,
  updateConfig,
  updateSecret,
} from './files.ts';
import { requireByRef } from './lookup.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { removeNode, updateNode } from './nodes.ts';
import { redactCluster, redactSecret, redactService, redactTask } from './redact.ts';
import { createService, updateService } from './services.ts';
import { moveTask } from './tasks.ts';
import type { ExternalAuthorities } from './trust-root.ts';

export type Verb = keyof typeof controlMethods;
type PartsOf<V extends Verb> =
  (typeof controlMethods)[V] extends UnaryMethod<infer Request, infer Response>
    ? { readonly request: Request; readonly response: Response }
    : never;
export type RequestOf<V extends Verb> = PartsOf<V>['request'];
export type ResponseOf<V extends Verb> = PartsOf<V>['response'];

/** What a write may know beside the store. */
export interface WriteEnvironment {
  /** wall clock */
  readonly nowMs: number;
  readonly random: Random;
  /** the raft members, as this leader sees them */
  readonly managers: () => readonly ManagerStatus[];
  readonly external: ExternalAuthorities;
}

export type Write<V extends Verb> = (
  store: Store,
  request: RequestOf<V>,
  environment: WriteEnvironment,
  signal?: AbortSignal,
) => Promise<ResponseOf<V>>;

type InTransaction<Req, T> = (tx: WriteTx, request: Req, environment: WriteEnvironment) => T;

/** A write in one transaction; answers with the object as users may see it, or with the id removed. */
function inTransaction<Req, T>(
  write: InTransaction<Req, T>,
  redact: (object: T) => T = (object) => object,
) {
  return async (
    store: Store,
    request: Req,
    environment: WriteEnvironment,
    signal?: AbortSignal,
  ): Promise<T> => redact(await store.update((tx) => write(tx, request, environment), signal));
}

/** Tasks of a removed service are the orchestrator's to end. */
function removeByRef(kind: 'service' | 'task') {
  return (tx: WriteTx, { ref }: RemoveRequest): string => {
    const { id } = requireByRef(tx, kind, ref);
    tx.remove(kind, id);
    return id;
  };
}

/**
 * Those whose object is compared with all others of its kind. A transaction checks what it writes, not what else it
 * read: of two at a time neither would see the other. They are made one after another, which only a leader does.
 */
export const COMPARED_WITH_ALL: ReadonlySet<Verb> = new Set(['createNetwork']);

export const WRITES: { readonly [V in Verb]: Write<V> } = {
  createService: inTransaction(createService, redactService),
  updateService: inTransaction(updateService, redactService),
  removeService: inTransaction(removeByRef('service')),
  createNetwork: inTransaction(createNetwork),
  removeNetwork: inTransaction(removeNetwork),
  createSecret: inTransaction(createSecret, redactSecret),
  updateSecret: inTransaction(updateSecret, redactSecret),
  removeSecret: inTransaction(removeSecret),
  createConfig: inTransaction(createConfig),
  updateConfig: inTransaction(updateConfig),
  removeConfig: inTransaction(removeConfig),
  updateNode: inTransaction(updateNode),
  removeNode,
  updateCluster: async (...parts) => redactCluster(await updateCluster(...parts)),
  removeTask: inTransaction(removeByRef('task')),
  moveTask: inTransaction(moveTask, redactTask),
};
