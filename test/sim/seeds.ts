/** Seeds that found a fault once, each with a line about it. They run with every check. */

export interface KeptSeed {
  readonly seed: number;
  readonly found: string;
}

export const KEPT_SEEDS: readonly KeptSeed[] = [
  { seed: 1, found: 'two snapshots in one flush: cleaning up after the first deleted the second' },
  { seed: 17, found: 'a change of key on a slow disk dropped the old key too early' },
  { seed: 184, found: 'a learner was promoted on what was known of it long before' },
  { seed: 392, found: 'a pre-vote granted in an earlier round raised the term' },
  { seed: 10_032, found: 'a batch went into an empty tail past the limit of uncommitted bytes' },
  {
    seed: 777,
    found: 'a stop on a full disk wrote later entries without those that were given up',
  },
  { seed: 909, found: 'a removed node died of an acknowledgement of its own' },
];
