/** Whether a namespace may differ from what was found there at the last comparison. */
import {
  CHANGES,
  ChangeListener,
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  type NetnsStep,
  visitNetns,
} from '../../native/ffi/net/sockets.ts';

const watching = (changes: number): readonly [NetnsStep, NetnsStep] => [
  { kind: 'listen', protocol: NETLINK_ROUTE, changes },
  { kind: 'listen', protocol: NETLINK_NETFILTER, changes: CHANGES.tables },
];

/** Steps whose sockets tell of a namespace with a bridge and tables of neighbours. */
export const OVERLAY_WATCH = watching(CHANGES.links + CHANGES.neighbours);

/** Of a task's namespace. Not of its neighbours: they come and go with its traffic. */
export const TASK_WATCH = watching(
  CHANGES.links + CHANGES.addresses + CHANGES.routes + CHANGES.rules,
);

/** INVARIANT: what changed before a comparison began and was not compared keeps it suspect. */
export class ChangeWatch {
  readonly #listeners: readonly ChangeListener[];
  #suspect = true;

  /** @param fds of the sockets that the steps made, its own from now on */
  constructor(fds: readonly number[]) {
    this.#listeners = fds.map((fd) => ChangeListener.of(fd));
  }

  static async open(nsPath: string, watched: readonly NetnsStep[]): Promise<ChangeWatch> {
    return new ChangeWatch(await visitNetns(nsPath, watched));
  }

  /** Stays so until `trust`. Cheap: one system call for each listener. */
  suspect(): boolean {
    for (const listener of this.#listeners) if (listener.heard()) this.#suspect = true;
    return this.#suspect;
  }

  /** The comparison that began after the last `suspect` found nothing. */
  trust(): void {
    this.#suspect = false;
  }

  /** Idempotent. */
  close(): void {
    for (const listener of this.#listeners) listener.close();
  }
}
