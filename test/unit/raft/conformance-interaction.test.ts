/** Whole-group scenarios: traces equal to those of etcd/raft, log lines included. */
import { describeReferenceSuite } from '../../support/raft-reference.ts';

describeReferenceSuite('interaction', 'raft group, compared with the reference traces');
