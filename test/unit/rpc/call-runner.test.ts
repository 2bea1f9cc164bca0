import { describe, expect, test } from 'vitest';
import { ROLE_LOST } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { issueNodeCertificate } from '../../../common/rpc/ca-methods.ts';
import { CallRunner } from '../../../common/rpc/call-runner.ts';
import { controlMethods, listManagers } from '../../../common/rpc/control-methods.ts';
import { dispatcherSession } from '../../../common/rpc/dispatcher-method.ts';
import { takeImage } from '../../../common/rpc/image-methods.ts';
import { containerApi, readTaskLogs, verifyNetwork } from '../../../common/rpc/node-methods.ts';
import { type ConnectionIdentity, forwardingMetadata } from '../../../common/rpc/peer.ts';
import { raftExchange, raftSendSnapshot } from '../../../common/rpc/raft-methods.ts';

function holder(id: string, role: NodeRole): ConnectionIdentity {
  const nodeId = asId<NodeId>(id);
  return { peer: { nodeId, role, clusterId: 'c', address: '10.0.0.1' }, refusal: null };
}

/** A worker's server. @param managers null = no session has told of them yet */
function worker(managers: readonly string[] | null) {
  return new CallRunner({
    logger: silentLogger,
    onFailure: () => {},
    isManager: (nodeId) => managers?.includes(nodeId) ?? null,
  });
}

const METHODS = [
  ...[readTaskLogs, containerApi, verifyNetwork, takeImage],
  ...[...Object.values(controlMethods), listManagers],
] as const;

describe.each(METHODS)('what only those may who are managers now, $path,', (method) => {
  const admit = (runner: CallRunner, caller: ConnectionIdentity, metadata = {}) =>
    runner.admit(method, caller, new Map(Object.entries(metadata)));

  test('a manager may', () => {
    expect(admit(worker(['m1']), holder('m1', 'manager')).peer.nodeId).toBe('m1');
  });

  test('one that is none any more may not, though its certificate says so', () => {
    expect(() => admit(worker(['m1']), holder('old', 'manager'))).toThrow(
      /node old is none of the managers/,
    );
  });

  test('nor may it in the name of one that is', () => {
    const forwarded = forwardingMetadata(holder('m1', 'manager').peer);
    expect(() => admit(worker(['m1']), holder('old', 'manager'), forwarded)).toThrow(
      /node old is none of the managers/,
    );
  });

  test('nobody may while the managers are not known', () => {
    expect(() => admit(worker(null), holder('m1', 'manager'))).toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    );
  });

  test('a worker may not, whatever the list says', () => {
    expect(() => admit(worker(['m1']), holder('m1', 'worker'))).toThrow(/the caller is a worker/);
  });
});

describe("a node with a manager's certificate that is a worker by now", () => {
  const runner = new CallRunner({
    logger: silentLogger,
    onFailure: () => {},
    isWorker: (nodeId) => nodeId === 'old',
  });
  const admit = (method: Method, caller: ConnectionIdentity, onBehalf?: ConnectionIdentity) =>
    runner.admit(
      method,
      caller,
      new Map(Object.entries(onBehalf ? forwardingMetadata(onBehalf.peer) : {})),
    );
  type Method = Parameters<CallRunner['admit']>[0];
  const { createService } = controlMethods;

  test('may not do what managers do, itself or for others, nor be spoken for', () => {
    const refused = expect.objectContaining({
      code: 'unavailable',
      message: `call ${createService.path}: node old is no manager now`,
      details: { [ROLE_LOST]: 'manager' },
    });
    const [old, current] = [holder('old', 'manager'), holder('m1', 'manager')];
    expect(() => admit(createService, old)).toThrow(refused);
    expect(() => admit(createService, old, current)).toThrow(refused);
    expect(() => admit(createService, current, old)).toThrow(refused);
    expect(admit(createService, current).peer.nodeId).toBe('m1');
  });

  test('is heard by Raft: the leader may have been a worker as far as a member knows that lags', () => {
    const old = holder('old', 'manager');
    expect(admit(raftExchange, old).peer.nodeId).toBe('old');
    expect(admit(raftSendSnapshot, old).peer.nodeId).toBe('old');
  });

  test('may do what every node does, but not in the name of others', () => {
    const [old, current] = [holder('old', 'manager'), holder('m1', 'manager')];
    expect(admit(issueNodeCertificate, old).peer.nodeId).toBe('old');
    expect(admit(dispatcherSession, old).peer.nodeId).toBe('old');
    expect(admit(issueNodeCertificate, current, old).peer.nodeId).toBe('old');
    expect(() => admit(issueNodeCertificate, old, current)).toThrow('is no manager now');
  });
});
