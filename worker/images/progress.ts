/** Lines of progress in the shape of Docker's JSON stream: one object per line, sent on as it is. */

export interface ProgressLine {
  /** short id of the layer that `status` is about */
  readonly id?: string;
  readonly status?: string;
  /** bytes; `{}` = not counted, as Docker sends it */
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  /** facts for programs: what was pushed */
  readonly aux?: Readonly<Record<string, string | number>>;
  /** text to print as it is */
  readonly stream?: string;
}

export type ProgressListener = (line: ProgressLine) => void;
