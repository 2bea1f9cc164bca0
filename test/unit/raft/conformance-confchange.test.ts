/** Membership changes: results and refusals equal to those of etcd/raft's scripts. */
import { describeReferenceSuite } from '../../support/raft-reference.ts';

describeReferenceSuite(
  'confchange',
  'raft membership changes, compared with the reference scripts',
);
