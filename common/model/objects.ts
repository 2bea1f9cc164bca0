/** What every stored object has in common. */

/** Labels and other string maps. Keys are unique; order means nothing. */
export type StringMap = Readonly<Record<string, string>>;

export interface Annotations {
  readonly name: string;
  readonly labels: StringMap;
}

export interface Meta {
  /** Raft index at the start of the writing transaction; grows with every write of the object. */
  readonly version: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** The meta of an object that is being created: the store stamps it. */
export const UNSTAMPED: Meta = { version: 0, createdAtMs: 0, updatedAtMs: 0 };
