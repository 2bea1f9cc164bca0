import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Task } from '../../../common/model/task.ts';
import { encodeWith } from '../../../common/wire/scratch.ts';
import { taskToProto } from '../../../common/wire/task.ts';
import { encodeTask } from '../../../common/wire/task-encoding.ts';
import { skep } from '../../../proto/gen/skep.js';
import { objectArbitraries } from '../../support/arbitraries.ts';
import { aTask, aTaskStatus } from '../../support/builders.ts';

function expectSameBytes(task: Task): void {
  const message = taskToProto(task);
  const generated = Buffer.from(encodeWith((writer) => skep.Task.encode(message, writer)));
  const ours = Buffer.from(encodeWith((writer) => encodeTask(task, writer)));
  expect(ours.toString('hex')).toBe(generated.toString('hex'));
}

describe('the encoding of a task', () => {
  test('has the bytes of the generated code', () => {
    fc.assert(fc.property(objectArbitraries.task, expectSameBytes), { numRuns: 500 });
  });

  test('leaves out what is empty, and nothing else', () => {
    const container = { containerId: '', pid: 0, exitCode: 0, oomKilled: false };
    const status = aTaskStatus({ message: '', timestampMs: 0, container });
    const serviceAnnotations = { name: '', labels: { '': '', a: '' } };
    expectSameBytes(aTask({ slot: 0, jobIteration: 0, status, serviceAnnotations }));
    expectSameBytes(aTask({ slot: null, moving: 'start-first' }));
  });

  test('takes labels of any name', () => {
    const labels = JSON.parse('{"__proto__": "x", "constructor": "y", "1": "z"}');
    expectSameBytes(aTask({ serviceAnnotations: { name: 'web', labels } }));
  });
});
