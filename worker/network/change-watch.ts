/** Whether a namespace may differ from what was found there at the last comparison. */
import {
  CHANGES,
  ChangeListener,
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
} from '../../native/ffi/net/sockets.ts';

/** INVARIANT: what changed before a comparison began and was not compared keeps it suspect. */
export class ChangeWatch {
  readonly #listeners: readonly ChangeListener[];
  #suspect = true;

  private constructor(listeners: readonly ChangeListener[]) {
    this.#listeners = listeners;
  }

  /** For a namespace with a bridge and tables of neighbours. */
  static async ofOverlay(nsPath: string): Promise<ChangeWatch> {
    return ChangeWatch.#open(nsPath, CHANGES.links + CHANGES.neighbours);
  }

  /** For a task's namespace. Not its neighbours: they come and go with its traffic. */
  static async ofTask(nsPath: string): Promise<ChangeWatch> {
    const kinds = CHANGES.links + CHANGES.addresses + CHANGES.routes + CHANGES.rules;
    return ChangeWatch.#open(nsPath, kinds);
  }

  static async #open(nsPath: string, kinds: number): Promise<ChangeWatch> {
    const route = await ChangeListener.open(nsPath, NETLINK_ROUTE, kinds);
    try {
      const tables = await ChangeListener.open(nsPath, NETLINK_NETFILTER, CHANGES.tables);
      return new ChangeWatch([route, tables]);
    } catch (err) {
      route.close();
      throw err;
    }
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
