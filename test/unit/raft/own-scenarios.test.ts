/** Our scenarios, one per section of the Raft paper and per feature beyond it: traces as written. */
import { describeOwnScenarios } from '../../support/raft-reference.ts';

describeOwnScenarios('raft group, as the paper demands');
