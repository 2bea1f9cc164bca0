/** Whole-group scenarios: traces equal to those of etcd/raft, log lines included. */
import { describe, expect, test } from 'vitest';
import { runScript } from '../../support/datadriven.ts';
import { RaftInteraction } from '../../support/raft-interaction.ts';
import { REFERENCE_MISSING, referenceScripts } from '../../support/raft-reference.ts';

const scripts = referenceScripts('interaction');

describe('raft group, compared with the reference traces', () => {
  if (scripts === null) {
    test.skip(REFERENCE_MISSING, () => {});
    return;
  }

  test.each(scripts)('$name', ({ path }) => {
    const group = new RaftInteraction();
    const { actual, expected } = runScript(path, (directive) => group.handle(directive));
    expect(actual.length).toBeGreaterThan(0);
    expect(actual).toEqual(expected);
  });
});
