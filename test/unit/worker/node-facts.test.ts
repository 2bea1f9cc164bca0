import { cpus, totalmem } from 'node:os';
import { describe, expect, test } from 'vitest';
import { describeNode } from '../../../worker/node-facts.ts';

const FACTS = {
  hostname: 'alpha',
  address: '10.0.0.1:2377',
  engineVersion: '1.2.3',
  engineLabels: { rack: '7' },
  generic: [{ kind: 'ssd', value: 3 }],
  tlsInfo: null,
};

describe('description of this node', () => {
  test('passes on what it is told', () => {
    expect(describeNode(FACTS)).toMatchObject(FACTS);
  });

  test('has the resources of the machine', () => {
    const { nanoCpus, memoryBytes, platform } = describeNode(FACTS);
    expect(nanoCpus).toBe(cpus().length * 1e9);
    expect(memoryBytes).toBe(totalmem());
    expect(platform.os).toBe('linux');
    expect(platform.architecture).not.toBe('x64'); // the kernel's name, not Node's
  });

  test('is equal from one look to the next, so that a change is a change', () => {
    expect(JSON.stringify(describeNode(FACTS))).toBe(JSON.stringify(describeNode(FACTS)));
  });

  test('names its network drivers', () => {
    const drivers = describeNode(FACTS).plugins.filter(({ type }) => type === 'Network');
    const names = ['bridge', 'host', 'ipvlan', 'macvlan', 'null', 'overlay'];
    expect(drivers.map(({ name }) => name)).toEqual(names);
  });
});
