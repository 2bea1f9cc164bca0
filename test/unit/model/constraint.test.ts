import { describe, expect, test } from 'vitest';
import {
  nodeMeetsConstraints,
  parseConstraint,
  storedConstraints,
} from '../../../common/model/constraint.ts';
import { aNode, aNodeDescription, aNodeSpec } from '../../support/builders.ts';

describe('grammar of constraints', () => {
  test.each([
    ['node.role==manager', 'node.role', '==', 'manager'],
    ['  node.labels.zone  !=  eu west ', 'node.labels.zone', '!=', 'eu west'],
    ['node.ip == 10.0.0.0/8', 'node.ip', '==', '10.0.0.0/8'],
    ['engine.labels.com.example.a-b_c==^x$|y', 'engine.labels.com.example.a-b_c', '==', '^x$|y'],
    ['some.key==1', 'some.key', '==', '1'],
  ])('%s', (text, key, operator, value) => {
    expect(parseConstraint(text)).toEqual({ key, operator, value });
  });

  test.each([
    ['node.role', /expected one operator from ==, !=/],
    ['node.role=manager', /expected one operator from/],
    ['', /expected one operator from/],
    ['==manager', /^key '' is invalid$/],
    ['1node==x', /^key '1node' is invalid$/],
    ['node role==x', /^key 'node role' is invalid$/],
    ['node.role==', /^value '' is invalid$/],
    ['node.role==a,b', /^value 'a,b' is invalid$/],
    ['node.role=="a"', /^value '"a"' is invalid$/],
    ['node.role==a==b', /^value 'a==b' is invalid$/],
    ['node.labels.a!=b==c', /^key 'node.labels.a!=b' is invalid$/],
    ['node.labels.x==größe', /is invalid$/],
  ])('%s is refused', (text, message) => {
    expect(() => parseConstraint(text)).toThrow(message);
  });
});

describe('constraints and a node', () => {
  const node = aNode({
    id: 'abc123' as never,
    role: 'manager',
    spec: aNodeSpec({ labels: { zone: 'EU', Key: '1' } }),
    status: { state: 'ready', message: '', address: '10.1.2.3' },
    description: aNodeDescription({ hostname: 'Host1', engineLabels: { disk: 'ssd' } }),
  });

  test.each([
    ['node.id == abc123', true],
    ['node.hostname == host1', true],
    ['NODE.HOSTNAME != host1', false],
    ['node.role == manager', true],
    ['node.role != manager', false],
    ['node.platform.os == LINUX', true],
    ['node.platform.arch == x86_64', true],
    ['node.platform.arch == amd64', false],
    ['node.labels.zone == eu', true],
    ['Node.Labels.zone == eu', true],
    ['node.labels.Zone == eu', false],
    ['node.labels.key == 1', false],
    ['node.labels.missing == x', false],
    ['node.labels.missing != x', true],
    ['node.labels.constructor == x', false],
    ['engine.labels.disk == ssd', true],
    ['engine.labels.disk != ssd', false],
    ['node.ip == 10.1.2.3', true],
    ['node.ip != 10.1.2.3', false],
    ['node.ip == 10.1.0.0/16', true],
    ['node.ip != 10.1.0.0/16', false],
    ['node.ip == 10.2.0.0/16', false],
    ['node.ip == 10.1.0.0/99', false],
    ['node.ip != nonsense', false],
    ['node.ip == fd00::1', false],
    ['other.key == x', false],
    ['other.key != x', false],
    ['node.labels. == x', false],
  ])('%s: %s', (text, meets) => {
    expect(nodeMeetsConstraints(node, [parseConstraint(text)])).toBe(meets);
  });

  test('a node that has not described itself has empty words', () => {
    const bare = aNode({ description: null });
    expect(nodeMeetsConstraints(bare, [parseConstraint('node.hostname != x')])).toBe(true);
    expect(nodeMeetsConstraints(bare, [parseConstraint('node.platform.os == linux')])).toBe(false);
  });

  test('one that cannot be read is met by no node', () => {
    const unreadable = storedConstraints(['node.role == worker', 'nonsense']);
    expect(unreadable).toHaveLength(2);
    expect(nodeMeetsConstraints(node, unreadable.slice(1))).toBe(false);
  });

  test('every constraint counts', () => {
    const both = ['node.role == manager', 'node.labels.zone == us'].map(parseConstraint);
    expect(nodeMeetsConstraints(node, both)).toBe(false);
    expect(nodeMeetsConstraints(node, [])).toBe(true);
  });
});
