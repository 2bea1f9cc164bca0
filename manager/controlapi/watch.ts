/**
 * What a watch of the cluster tells, and to whom: which changes its filters let through, and the words
 * for one that cannot go on. Pure, but for the store's feed that it reads.
 */
import { assertNever } from '../../common/base/assert.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { ObjectKind } from '../../common/model/object-kinds.ts';
import type { StringMap } from '../../common/model/objects.ts';
import { taskName } from '../../common/model/task.ts';
import { OLDEST_REVISION } from '../store/feed.ts';
import type { Commit, Store, StoreChange, Watch } from '../store/types.ts';
import { hasLabel } from './filters.ts';
import { redactCluster, redactSecret, redactService, redactTask } from './redact.ts';

export type WatchAction = StoreChange['action'];

/** Fields AND; values of a field OR; labels AND. Absent and empty = everything. */
export interface WatchFilters {
  readonly kinds?: readonly ObjectKind[];
  readonly actions?: readonly WatchAction[];
  /** prefixes of ids */
  readonly ids?: readonly string[];
  /** prefixes of names; of nodes: hostnames, of tasks: `service.slot.id` */
  readonly names?: readonly string[];
  /** `key` or `key=value`; of tasks: those of their service */
  readonly labels?: readonly string[];
  /** ids or names: services and their tasks */
  readonly services?: readonly string[];
  /** ids or hostnames: nodes, and tasks by the id of theirs */
  readonly nodes?: readonly string[];
}

/**
 * Changes after a revision, without secrets. `next` answers the commits that hold some that the filters
 * let through, with nothing but those; `revision` is where a later watch may go on.
 */
export interface ClusterWatch {
  readonly revision: number;
  /** Waits for news; maybe none that pass. null at the end. Throws `compacted` for a reader too slow. */
  next(signal: AbortSignal): Promise<readonly Commit[] | null>;
  close(): void;
}

/**
 * @param fromRevision changes after it; undefined = from now on
 * @param onClose told of `close`
 * Throws `compacted` when some of them are no longer kept, `invalid-argument` for one still to come.
 */
export function watchCluster(
  store: Store,
  filters: WatchFilters,
  fromRevision: number | undefined,
  onClose: () => void,
): ClusterWatch {
  if (fromRevision !== undefined && fromRevision > store.revision) {
    throw new SkepError(
      'invalid-argument',
      `watch from revision ${fromRevision}: the newest one is ${store.revision}`,
    );
  }
  const begun = told(fromRevision ?? store.revision, () => store.watch(fromRevision));
  return new FilteredWatch(begun, changeTest(filters), fromRevision ?? store.revision, onClose);
}

class FilteredWatch implements ClusterWatch {
  readonly #watch: Watch;
  readonly #passes: (change: StoreChange) => boolean;
  readonly #onClose: () => void;
  #revision: number;

  constructor(
    watch: Watch,
    passes: (change: StoreChange) => boolean,
    revision: number,
    onClose: () => void,
  ) {
    this.#watch = watch;
    this.#passes = passes;
    this.#revision = revision;
    this.#onClose = onClose;
  }

  get revision(): number {
    return this.#revision;
  }

  async next(signal: AbortSignal): Promise<readonly Commit[] | null> {
    let commits: readonly Commit[] | null;
    try {
      commits = await this.#watch.next(signal);
    } catch (err) {
      throw compacted(err, this.#revision);
    }
    this.#revision = commits?.at(-1)?.revision ?? this.#revision;
    if (commits === null) return null;
    return commits.map((commit) => this.#shown(commit)).filter(hasChanges);
  }

  close(): void {
    this.#watch.close();
    this.#onClose();
  }

  #shown({ revision, changes }: Commit): Commit {
    return { revision, changes: changes.filter(this.#passes).map(redactChange) };
  }
}

function hasChanges({ changes }: Commit): boolean {
  return changes.length > 0;
}

function told<T>(revision: number, read: () => T): T {
  try {
    return read();
  } catch (err) {
    throw compacted(err, revision);
  }
}

function compacted(err: unknown, revision: number): unknown {
  if (!hasCode(err, 'resource-exhausted')) return err;
  const oldest = err.details[OLDEST_REVISION] ?? '';
  return new SkepError(
    'compacted',
    `watch from revision ${revision}: changes up to revision ${oldest} are no longer kept: list the objects again and watch from now on`,
    { details: { [OLDEST_REVISION]: oldest } },
  );
}

/** An update passes when what was there before passes, too: who watches a label learns that it is gone. */
export function changeTest(filters: WatchFilters): (change: StoreChange) => boolean {
  const { kinds = [], actions = [] } = filters;
  return (change) => {
    if (kinds.length > 0 && !kinds.includes(change.kind)) return false;
    if (actions.length > 0 && !actions.includes(change.action)) return false;
    if (objectPasses(change, filters)) return true;
    return change.action === 'update' && objectPasses(previousOf(change), filters);
  };
}

/** What filters see of an object. */
interface Facts {
  readonly name: string;
  readonly labels: StringMap;
  /** ids and names of the service that it is, or is of */
  readonly services: readonly string[];
  readonly nodes: readonly string[];
}

function objectPasses(change: StoreChange, filters: WatchFilters): boolean {
  const { ids = [], names = [], labels = [], services = [], nodes = [] } = filters;
  if (!some(ids, (prefix) => change.object.id.startsWith(prefix))) return false;
  if (names.length + labels.length + services.length + nodes.length === 0) return true;
  const facts = factsOf(change);
  return (
    some(names, (prefix) => facts.name.startsWith(prefix)) &&
    labels.every((label) => hasLabel(facts.labels, label)) &&
    some(services, (ref) => facts.services.includes(ref)) &&
    some(nodes, (ref) => facts.nodes.includes(ref))
  );
}

function some(values: readonly string[], test: (value: string) => boolean): boolean {
  return values.length === 0 || values.some(test);
}

function factsOf({ kind, object }: StoreChange): Facts {
  switch (kind) {
    case 'task': {
      const { serviceId, nodeId, serviceAnnotations } = object;
      return {
        name: taskName(object),
        labels: serviceAnnotations.labels,
        services: [serviceId, serviceAnnotations.name],
        nodes: nodeId === null ? [] : [nodeId],
      };
    }
    case 'node': {
      const hostname = object.description?.hostname ?? '';
      const { labels } = object.spec;
      return { name: hostname, labels, services: [], nodes: [object.id, hostname] };
    }
    case 'service': {
      const { name, labels } = object.spec;
      return { name, labels, services: [object.id, name], nodes: [] };
    }
    case 'cluster':
    case 'network':
    case 'secret':
    case 'config': {
      const { name, labels } = object.spec;
      return { name, labels, services: [], nodes: [] };
    }
    default:
      return assertNever(kind, 'kind of object');
  }
}

/** The change as it would be if the object were what it was. */
function previousOf(change: StoreChange & { readonly action: 'update' }): StoreChange {
  return { ...change, object: change.previous } as StoreChange;
}

function redactChange(change: StoreChange): StoreChange {
  switch (change.kind) {
    case 'cluster':
      return redacted(change, redactCluster);
    case 'secret':
      return redacted(change, redactSecret);
    case 'service':
      return redacted(change, redactService);
    case 'task':
      return redacted(change, redactTask);
    case 'node':
    case 'network':
    case 'config':
      return change;
    default:
      return assertNever(change, 'kind of object');
  }
}

function redacted<T, C extends { readonly object: T; readonly previous?: T }>(
  change: C,
  redact: (object: T) => T,
): C {
  const { previous } = change;
  return {
    ...change,
    object: redact(change.object),
    ...(previous !== undefined && { previous: redact(previous) }),
  };
}
