import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeId, TaskId } from '../../../common/model/ids.ts';
import { type Drained, PendingDrains } from '../../../manager/dispatcher/pending-drains.ts';
import { idOf } from '../../support/builders.ts';

const [home, away, third] = ['h', 'a', 't'].map((name) => idOf<NodeId>(name)) as [
  NodeId,
  NodeId,
  NodeId,
];
const web = idOf<TaskId>('web');
const api = idOf<TaskId>('api');
const tasks = (...ids: TaskId[]): Drained => new Map([[home, ids]]);
const NONE: Drained = new Map();

let drains: PendingDrains;
beforeEach(() => {
  drains = new PendingDrains();
});

describe('tasks whose endpoints end', () => {
  test('are drained when the last node that was told has confirmed', () => {
    expect(drains.begin(7, tasks(web), [home, away], 0)).toEqual(NONE);
    expect(drains.applied(home, 7)).toEqual(NONE);
    expect(drains.applied(third, 7)).toEqual(NONE);
    expect(drains.applied(away, 7)).toEqual(tasks(web));
    expect(drains.applied(away, 7)).toEqual(NONE);
  });

  test('are drained by a later revision, not by an earlier one', () => {
    drains.begin(7, tasks(web), [away], 0);
    expect(drains.applied(away, 6)).toEqual(NONE);
    expect(drains.applied(away, 9)).toEqual(tasks(web));
  });

  test('stop at once when a thousand revisions wait to be confirmed', () => {
    for (let revision = 1; revision <= 1_000; revision++) {
      expect(drains.begin(revision, tasks(web), [away], 0)).toEqual(NONE);
    }
    expect(drains.begin(1_001, tasks(api), [away], 0)).toEqual(tasks(api));
    expect(drains.queues()).toMatchObject([{ length: 1_000, limit: 1_000 }]);
  });

  test('of several revisions are told together', () => {
    drains.begin(7, tasks(web), [away, third], 0);
    drains.begin(8, tasks(api), [away], 0);
    expect(drains.applied(third, 8)).toEqual(NONE);
    expect(drains.applied(away, 8)).toEqual(tasks(web, api));
  });

  test('are drained at once when nobody has to be told', () => {
    expect(drains.begin(7, tasks(web), [], 0)).toEqual(tasks(web));
  });

  test('do not wait for a node whose session ended', () => {
    drains.begin(7, tasks(web), [away], 0);
    drains.begin(8, tasks(api), [away, third], 0);
    expect(drains.gone(away)).toEqual(tasks(web));
    expect(drains.gone(away)).toEqual(NONE);
    expect(drains.gone(third)).toEqual(tasks(api));
  });

  test('are forgotten when their node has stopped waiting for it', () => {
    drains.begin(7, tasks(web), [away], 0);
    drains.begin(8, NONE, [away], 4_001);
    expect(drains.applied(away, 9)).toEqual(NONE);
  });
});
