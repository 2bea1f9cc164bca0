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
  });

  test('raft settings that nothing reads', () => {
    const raft = { ...DEFAULT_CLUSTER_SPEC.raft, snapshotInterval: 5 };
    expect(() => checkClusterSpec({ ...DEFAULT_CLUSTER_SPEC, raft })).toThrow(
      'raft setting snapshotInterval: values other than 10000 are not done yet',
    );
  });
});
