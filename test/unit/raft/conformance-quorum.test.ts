/** Majorities and joint majorities: results equal to those of etcd/raft's tables. */
import { describeReferenceSuite } from '../../support/raft-reference.ts';

describeReferenceSuite('quorum', 'raft quorums, compared with the reference tables');
