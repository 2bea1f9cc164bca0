/**
 * What changes in the cluster's services, nodes, networks, secrets and configs, in the words of Docker's
 * events. Runs on every manager; writes nothing. Tasks are not told: their containers' nodes do that.
 */
import type { EngineEvent } from '../common/model/engine-event.ts';
import type { Node } from '../common/model/node.ts';
import type { StringMap } from '../common/model/objects.ts';
import type { Service } from '../common/model/service.ts';
import { Follower, type FollowerOptions } from './store/follower.ts';
import type { StoreChange } from './store/types.ts';

/** @param timeMs wall clock of the manager that wrote the change, or of this one for a removal */
export type TellClusterEvent = (event: EngineEvent, timeMs: number) => void;

export interface ClusterEventsOptions extends FollowerOptions {
  readonly tell: TellClusterEvent;
}

/** A manager that falls behind (a snapshot replaced its state) does not tell what it missed. */
export class ClusterEvents {
  readonly #follower: Follower;

  constructor(options: ClusterEventsOptions) {
    const { clock, tell } = options;
    this.#follower = new Follower(options, {
      resync: async () => {},
      react: async (commits) => {
        for (const change of commits.flatMap(({ changes }) => changes)) {
          const event = clusterEvent(change);
          if (event) tell(event, timeOf(change) ?? clock.wallMs());
        }
      },
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#follower.stop();
  }
}

/** null = the object has none for a removal */
function timeOf({ action, object }: StoreChange): number | null {
  if (action === 'remove') return null;
  return action === 'create' ? object.meta.createdAtMs : object.meta.updatedAtMs;
}

/** null = nothing that Docker tells. */
export function clusterEvent(change: StoreChange): EngineEvent | null {
  const { kind, action, object } = change;
  switch (kind) {
    case 'task':
    case 'cluster':
      return null;
    case 'network':
    case 'secret':
    case 'config':
      return { type: kind, action, id: object.id, attributes: { name: object.spec.name } };
    case 'service': {
      const previous = change.action === 'update' ? change.previous : null;
      const name = { name: object.spec.name };
      const differences = previous ? serviceDifferences(previous, object) : {};
      return { type: kind, action, id: object.id, attributes: { ...name, ...differences } };
    }
    case 'node': {
      const previous = change.action === 'update' ? change.previous : null;
      const name = { name: object.spec.name || (object.description?.hostname ?? '') };
      const differences = previous ? nodeDifferences(previous, object) : {};
      return { type: kind, action, id: object.id, attributes: { ...name, ...differences } };
    }
  }
}

function serviceDifferences(before: Service, after: Service): StringMap {
  const [oldMode, newMode] = [before.spec.mode, after.spec.mode];
  const replicas =
    oldMode.kind === 'replicated' && newMode.kind === 'replicated'
      ? difference('replicas', String(oldMode.replicas), String(newMode.replicas))
      : {};
  const newState = after.updateStatus?.state;
  return {
    ...difference('image', before.spec.task.container.image, after.spec.task.container.image),
    ...replicas,
    ...(newState ? difference('updatestate', before.updateStatus?.state ?? '', newState) : {}),
  };
}

function nodeDifferences(before: Node, after: Node): StringMap {
  return {
    ...difference('availability', before.spec.availability, after.spec.availability),
    ...difference('role', before.role, after.role),
    ...difference('state', before.status.state, after.status.state),
  };
}

/** `x.old` and `x.new`; the old one is left out when there was none. */
function difference(name: string, before: string, after: string): StringMap {
  if (before === after) return {};
  return { ...(before !== '' && { [`${name}.old`]: before }), [`${name}.new`]: after };
}
