/** What came of comparing a node's network with the tables that it was sent. */

/** One thing in the kernel that was not as it ought to be. */
export interface NetworkDrift {
  /** for people: `host`, `network front`, `task web.1.abc` */
  readonly where: string;
  /** e.g. `link eth0 mtu` */
  readonly what: string;
  /** null = it ought not to be there */
  readonly wanted: string | null;
  /** null = it was not there */
  readonly found: string | null;
  /** it is right now */
  readonly repaired: boolean;
}

/** Of so many drifts the words are told; of more only how many they are. */
export const DRIFTS_TOLD_MAX = 200;

export interface NetworkProof {
  /** namespaces that were compared */
  readonly compared: number;
  readonly driftCount: number;
  /** of those, not repaired */
  readonly leftCount: number;
  /** the first DRIFTS_TOLD_MAX */
  readonly drifts: readonly NetworkDrift[];
  /** namespaces that could not be compared, and why; the first DRIFTS_TOLD_MAX */
  readonly failures: readonly { readonly where: string; readonly reason: string }[];
  /** drifts repaired since the node's daemon started, these included */
  readonly repairedSinceStart: number;
}
