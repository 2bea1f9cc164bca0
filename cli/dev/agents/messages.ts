/** What the command and its processes of fake agents say to one another. */
/** One process's part. */
export interface Assignment {
  /** of its first agent; the others follow */
  readonly firstNumber: number;
  readonly count: number;
  readonly managers: readonly string[];
  readonly token: string;
  /** the cluster's root certificate, checked against the token */
  readonly rootPem: string;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
}

export type Order =
  | { readonly kind: 'begin'; readonly assignment: Assignment }
  | { readonly kind: 'end' };

/** Every second, and at once when something failed. */
export interface Report {
  readonly kind: 'report';
  /** of those that were asked for, who have a certificate */
  readonly joined: number;
  readonly connected: number;
  /** sessions since the beginning: those beyond `joined` replaced one that was lost */
  readonly sessions: number;
  /** assignment sets whose checksum was not the manager's */
  readonly differences: number;
  readonly runningTasks: number;
  /** since the report before: how long each answer to a heartbeat took, ms */
  readonly heartbeatsMs: readonly number[];
  /** the managers' refusal of one of these nodes; '' = none */
  readonly refusal: string;
}

export type Reply =
  | Report
  | { readonly kind: 'failed'; readonly message: string }
  /** every session is over */
  | { readonly kind: 'ended'; readonly nodeIds: readonly string[] };
