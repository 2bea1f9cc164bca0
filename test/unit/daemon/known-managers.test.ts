import { describe, expect, test } from 'vitest';
import { KnownManagers } from '../../../daemon/known-managers.ts';

const peers = (...ids: string[]) => ids.map((nodeId) => ({ nodeId, address: `${nodeId}:2377` }));

describe('known managers', () => {
  test('are not known before a session told of them', () => {
    const known = new KnownManagers(() => {});
    expect([known.has('m1'), known.list()]).toEqual([null, []]);
    known.learn(peers('m1', 'm2'));
    expect([known.has('m1'), known.has('m3')]).toEqual([true, false]);
    expect(known.list()).toEqual(peers('m1', 'm2'));
  });

  test('are those of the last session, and who left is told once', () => {
    const left: string[] = [];
    const known = new KnownManagers((nodeId) => left.push(nodeId));
    known.learn(peers('m1', 'm2', 'm3'));
    known.learn(peers('m1', 'm4'));
    known.learn(peers('m1', 'm4'));
    expect(left).toEqual(['m2', 'm3']);
    expect([known.has('m1'), known.has('m2'), known.has('m4')]).toEqual([true, false, true]);
  });

  test('stay those that they were when a session names none', () => {
    const left: string[] = [];
    const known = new KnownManagers((nodeId) => left.push(nodeId));
    known.learn(peers('m1'));
    known.learn([]);
    expect([known.has('m1'), left, known.list()]).toEqual([true, [], peers('m1')]);
  });
});
