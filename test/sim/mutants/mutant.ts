/** A text that is in a file exactly once, and what is put in its place. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A bug to be planted, and where it has to be noticed. */
export interface Mutant extends Edit {
  /** For `--plant`. */
  readonly name: string;
  /** What is wrong with it, in words. */
  readonly bug: string;
  /** Further places, when one is not enough. */
  readonly also?: readonly Edit[];
  /** Invariants that may notice it first; 0 = the product's own assertions. */
  readonly invariants: readonly number[];
}
