import { describe, expect, test } from 'vitest';
import {
  DEFAULT_CLUSTER_SPEC,
  DISPATCHER_HEARTBEAT_NANOS_MIN,
} from '../../../common/model/cluster.ts';
import { checkClusterSpec } from '../../../common/model/cluster-rules.ts';
import type { LogDriver } from '../../../common/model/service.ts';
import { checkServiceSpec } from '../../../manager/controlapi/service-rules.ts';
import { aServiceSpec, aTaskSpec } from '../../support/builders.ts';

const check = (task: Parameters<typeof aTaskSpec>[0]): void =>
  checkServiceSpec(aServiceSpec({ task: aTaskSpec(task) }));

test.each([
  [{ snapshotInterval: 1 }, null],
  [{ keepOldSnapshots: 5, logEntriesForSlowFollowers: 0 }, null],
  [{ snapshotInterval: 0 }, 'raft snapshot interval must be at least 1'],
  [{ keepOldSnapshots: -1 }, 'raft snapshots and log entries to keep cannot be negative'],
  [{ snapshotInterval: 1.5 }, 'snapshotInterval: 1.5 is not an integer'],
])('snapshots as in %j: %s', (change, words) => {
  const raft = { ...DEFAULT_CLUSTER_SPEC.raft, ...change };
  const checking = () => checkClusterSpec({ ...DEFAULT_CLUSTER_SPEC, raft });
  if (words === null) expect(checking).not.toThrow();
  else expect(checking).toThrow(words);
});

test('the least heartbeat period is taken', () => {
  const dispatcherHeartbeatNanos = DISPATCHER_HEARTBEAT_NANOS_MIN;
  expect(() =>
    checkClusterSpec({ ...DEFAULT_CLUSTER_SPEC, dispatcherHeartbeatNanos }),
  ).not.toThrow();
});

describe('what is not done yet is refused by name', () => {
  test.each<[LogDriver, string]>([
    [{ name: 'splunk', options: {} }, 'log driver "splunk" is not supported'],
    [
      { name: 'json-file', options: { 'max-sise': '1m' } },
      "unknown log opt 'max-sise' for json-file log driver",
    ],
  ])('log driver %o', (logDriver, message) => {
    expect(() => check({ logDriver })).toThrow(message);
    const spec = { ...DEFAULT_CLUSTER_SPEC, taskLogDriver: logDriver };
    expect(() => checkClusterSpec(spec)).toThrow(message);
  });
});
