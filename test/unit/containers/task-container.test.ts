import { beforeEach, describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import {
  type TaskContainerParts,
  TaskContainers,
} from '../../../worker/containers/task-container.ts';
import { aTask } from '../../support/builders.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { anExit } from '../../support/fake-container-host.ts';
import { InstantClock } from '../../support/instant-clock.ts';

const SIGNAL = new AbortController().signal;
const EXITED = { exit: { exitCode: 3, oomKilled: false, error: '', finishedAtMs: 5 } };
let calls: string[];
let isThere: boolean;
let events: string[];
let all: TaskContainers;
beforeEach(() => {
  calls = [];
  events = [];
  isThere = true;
  const call = (name: string) => async (_: string, signo?: number) => {
    calls.push(signo === undefined ? name : `${name} ${signo}`);
  };
  const runtime = {
    ...{ killAll: call('killAll'), signal: call('signal') },
    ...{ freeze: call('freeze'), thaw: call('thaw') },
    wait: async () => anExit({ exitCode: 7 }),
    get: () => {
      calls.push('get');
      const was = isThere;
      isThere = false;
      return was ? {} : undefined;
    },
  } as unknown as TaskContainerParts['runtime'];
  const tell = (event: Pick<EngineEvent, 'action' | 'attributes'>) =>
    void events.push(`${event.action} ${event.attributes['signal'] ?? ''}`.trim());
  all = new TaskContainers({ runtime, clock: new InstantClock(), tell });
});
const of = (overrides: Partial<ContainerInfo> = {}) =>
  all.of(aContainerInfo({ task: aTask(), ...overrides }));

describe('the container of a task, by hand', () => {
  test('is sent signals, and killed whole', async () => {
    await of().kill(10, 'c');
    await of().kill(9, 'c');
    expect(calls).toEqual(['signal 10', 'killAll']);
    expect(events).toEqual(['kill 10', 'kill 9']);
    await expect(of({ condition: 'exited', ...EXITED }).kill(9, 'c')).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('is stopped by its stop signal, let go first when it is paused', async () => {
    const options = { graceMs: null, signo: null };
    expect(await of({ condition: 'paused' }).stop(options)).toBe('go');
    expect(calls).toEqual(['thaw', 'signal 15']);
    expect(events).toEqual(['unpause', 'kill 15', 'stop']);
    const ended = of({ condition: 'exited', ...EXITED });
    expect(await ended.stop(options)).toBe('nothing-to-do');
  });

  test('stands still and goes on', async () => {
    await of().pause();
    await of({ condition: 'paused' }).unpause();
    expect(calls).toEqual(['freeze', 'thaw']);
    await expect(of().unpause()).rejects.toMatchObject({ code: 'conflict' });
  });

  test.each([
    ['not-running', {}, 7, 0],
    ['next-exit', {}, 7, 0],
    ['removed', {}, 7, 2],
    ['not-running', EXITED, 3, 0],
    ['next-exit', EXITED, 3, 2],
    ['removed', EXITED, 3, 2],
  ] as const)('is waited for until %s, being %j', async (until, overrides, exitCode, looks) => {
    expect(await of(overrides).wait(until, SIGNAL)).toEqual({ exitCode });
    expect(calls).toEqual(Array.from({ length: looks }, () => 'get'));
  });

  test('is ended by its removal; what is left of it goes with its task', async () => {
    await expect(of().remove({ force: false })).rejects.toThrow('stop the container');
    await of().remove({ force: true });
    expect([calls, events]).toEqual([['killAll'], ['kill 9']]);
    const ended = of({ condition: 'exited', ...EXITED });
    await expect(ended.remove({ force: true })).rejects.toThrow("with its service's history");
  });
});
