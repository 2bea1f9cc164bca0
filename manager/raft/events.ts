/** Notable events of a Raft node, as data. Words and destinations are the listener's affair. */
export type RaftEventListener = (event: RaftEvent) => void;

export interface RaftEvent {
  readonly code: string;
}
