import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { viewService } from '../../../../cli/commands/converge.ts';
import { isOver, viewJob } from '../../../../cli/commands/job-progress.ts';
import { scale } from '../../../../cli/commands/service.ts';
import type { NodeJson } from '../../../../common/model/engine-json/node.ts';
import type { ServiceJson } from '../../../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../../../common/model/engine-json/task.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { InstantClock } from '../../../support/instant-clock.ts';

const head = { Version: { Index: 9 }, CreatedAt: '', UpdatedAt: '' };
const nodes: NodeJson[] = ['a', 'b', 'down'].map((ID) => ({
  ...head,
  ID,
  Spec: { Labels: {}, Role: 'worker', Availability: 'active' },
  Status: { State: ID === 'down' ? 'down' : 'ready' },
}));

const service = (Mode: object, more: Partial<ServiceJson> = {}): ServiceJson => ({
  ...head,
  ID: 's',
  Spec: { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'x' } }, Mode },
  ...more,
});

const task = (
  Slot: number,
  State: string,
  DesiredState = 'running',
  more: Partial<TaskJson> = {},
): TaskJson => ({
  ...head,
  ID: `${Slot}${State}`,
  Spec: { ContainerSpec: { Image: 'x' } },
  ServiceID: 's',
  NodeID: 'a',
  Slot,
  Status: { Timestamp: '', State },
  DesiredState,
  ...more,
});

const replicated = (Replicas: number) => service({ Replicated: { Replicas } });

describe('view of a service', () => {
  test.each([
    ['each slot counts once', 2, [task(1, 'running'), task(2, 'starting')], 1, 2],
    [
      'a replaced task does not count',
      1,
      [task(1, 'failed', 'shutdown'), task(1, 'running')],
      1,
      1,
    ],
    [
      'its replacement counts before it runs',
      1,
      [task(1, 'running', 'shutdown'), task(1, 'ready', 'ready')],
      0,
      1,
    ],
    [
      'a slot that is scaled away does not count',
      1,
      [task(5, 'running'), task(2, 'running', 'remove')],
      1,
      1,
    ],
    [
      'a slot on its way to shutdown does not count',
      1,
      [task(5, 'running'), task(2, 'running', 'shutdown')],
      1,
      1,
    ],
    [
      'tasks on nodes that are down do not count',
      1,
      [task(1, 'running', 'running', { NodeID: 'down' })],
      0,
      0,
    ],
    ['orphaned tasks do not count', 1, [task(1, 'orphaned')], 0, 0],
  ])('%s', (_, replicas, tasks, running, slots) => {
    const view = viewService(replicated(replicas), tasks, nodes);
    expect([view.running, view.slots.length, view.wanted]).toEqual([running, slots, replicas]);
  });

  test('a global service wants a task on each node that has one', () => {
    const tasks = [
      task(0, 'running', 'running', { NodeID: 'a' }),
      task(0, 'preparing', 'running', { NodeID: 'b' }),
    ];
    const view = viewService(service({ Global: {} }), tasks, nodes);
    expect(view).toMatchObject({ wanted: 2, running: 1 });
    expect(view.slots.map(({ label }) => label)).toEqual(['a', 'b']);
  });
});

/** An engine whose service passes through these states, one for each poll; the last one stays. */
function scripted(polls: readonly (readonly TaskJson[])[], more: Partial<ServiceJson> = {}) {
  let poll = 0;
  const sent: unknown[] = [];
  return {
    sent,
    engine: {
      service: async () => service({ Replicated: { Replicas: 2 } }, more),
      serviceUpdate: async (...args: unknown[]) => void sent.push(args),
      tasks: async (filters: object) => {
        expect(filters).toEqual({ service: ['s'], '_up-to-date': ['true'] });
        return polls[Math.min(poll++, polls.length - 1)];
      },
      nodes: async () => nodes,
    },
  };
}

describe('waiting for a service', () => {
  const both = [task(1, 'running'), task(2, 'running')];
  const one = [task(1, 'running'), task(2, 'starting')];

  test('ends when all tasks ran through the monitor period', async () => {
    const { engine, sent } = scripted([[], one, both]);
    const clock = new InstantClock();
    const result = await runCommand(scale, ['web=2'], { engine, clock });
    expect(sent).toEqual([
      ['s', 9, expect.objectContaining({ Mode: { Replicated: { Replicas: 2 } } })],
    ]);
    expect(result).toEqual({
      status: 0,
      stderr: '',
      stdout: `web scaled to 2
overall progress: 0 out of 2 tasks
overall progress: 1 out of 2 tasks
overall progress: 2 out of 2 tasks
verify: Waiting 5 seconds to verify that tasks are stable...
verify: Service web converged
`,
    });
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(5_000);
  });

  test('begins the period anew when a task fails within it', async () => {
    const { engine } = scripted([both, both, one, both]);
    const { stdout } = await runCommand(scale, ['web=2'], { engine });
    expect(stdout.match(/verify: .*/g)).toEqual([
      'verify: Waiting 5 seconds to verify that tasks are stable...',
      'verify: Detected task failure',
      'verify: Waiting 5 seconds to verify that tasks are stable...',
      'verify: Service web converged',
    ]);
  });

  test("tells each task's error once", async () => {
    const broken = task(2, 'failed', 'running', {
      Status: { Timestamp: '', State: 'failed', Err: 'no such image' },
    });
    const { engine } = scripted([[broken], [], [broken], both]);
    const { stdout } = await runCommand(scale, ['web=2'], { engine });
    expect(stdout.match(/no such image/g)).toHaveLength(1);
  });

  test('a paused update is an error with its reason', async () => {
    const { engine } = scripted([one], { UpdateStatus: { State: 'paused', Message: 'task x' } });
    const result = await runCommand(scale, ['web=2'], { engine });
    expect(result).toMatchObject({ status: 1, stderr: 'service update paused: task x\n' });
  });

  test('Ctrl-C leaves the rest to the cluster, status 0', async () => {
    const abort = new AbortController();
    const { engine } = scripted([one]);
    const tasks = async () => {
      abort.abort(new Error('interrupted'));
      return one;
    };
    const result = await runCommand(scale, ['web=2'], {
      engine: { ...engine, tasks },
      signal: abort.signal,
    });
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/Operation continuing in background/);
  });

  test('a global service cannot be scaled', async () => {
    const engine = { service: async () => service({ Global: {} }) };
    const result = await runCommand(scale, ['web=2'], { engine });
    expect(result).toMatchObject({
      status: 1,
      stderr: 'web: scale can only be used with replicated or replicated-job mode\n',
    });
    const none = {
      service: async () => {
        throw new ApiError(404, 'service web not found');
      },
    };
    const missing = await runCommand(scale, ['web=2'], { engine: none });
    expect(missing.stderr).toBe('web: Error response from daemon: service web not found\n');
    const wrong = await runCommand(scale, ['web'], { engine });
    expect(wrong.stderr).toMatch(/expected SERVICE=REPLICAS/);
  });
});

test('a rollback says why, and that it goes back', () => {
  const UpdateStatus = { State: 'rollback_started', Message: 'manually requested rollback' };
  const { heading } = viewService(
    service({ Replicated: { Replicas: 2 } }, { UpdateStatus }),
    [task(1, 'running'), task(2, 'starting')],
    nodes,
  );
  expect(heading).toEqual([
    'rollback: manually requested rollback',
    'overall progress: rolling back update: 1 out of 2 tasks',
  ]);
});

describe('view of a job', () => {
  const ofIteration = (Index: number) => ({ JobIteration: { Index } });
  const job = service(
    { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 4 } },
    { JobStatus: ofIteration(1) },
  );
  const run = (slot: number, state: string, desired = 'complete', iteration = 1) =>
    task(slot, state, desired, ofIteration(iteration));

  test('counts completions and tasks under way, of the present iteration', () => {
    const tasks = [
      run(0, 'complete'),
      run(1, 'failed', 'shutdown'),
      run(1, 'ready', 'ready'),
      run(2, 'running'),
      run(3, 'complete', 'complete', 0),
    ];
    const view = viewJob(job, tasks);
    expect(view.heading).toEqual([
      'job progress: 1 out of 4 complete',
      'active tasks: 2 out of 2 tasks',
    ]);
    expect(view.slots.map(({ label, state }) => `${label} ${state}`)).toEqual([
      '1/4 complete',
      '2/4 ready',
      '3/4 running',
    ]);
    expect(isOver(view)).toBe(false);
  });

  test('is over when each seat has completed or was given up', () => {
    const ended = [run(0, 'complete'), run(1, 'failed', 'shutdown'), run(2, 'complete')];
    expect(isOver(viewJob(job, ended))).toBe(false);
    const view = viewJob(job, [...ended, run(3, 'rejected', 'shutdown')]);
    expect(view).toMatchObject({ completed: 2, failed: 2 });
    expect(isOver(view)).toBe(true);
  });

  test('what was stopped with its node is no failure', () => {
    const view = viewJob(job, [run(0, 'shutdown', 'shutdown')]);
    expect(view).toMatchObject({ completed: 0, failed: 0, slots: [] });
  });

  test('a global job counts the nodes that have a task', () => {
    const everywhere = service({ GlobalJob: {} }, { JobStatus: ofIteration(1) });
    const on = (NodeID: string, state: string) =>
      task(0, state, 'complete', { ...ofIteration(1), NodeID });
    const view = viewJob(everywhere, [on('b', 'running'), on('a', 'complete')]);
    expect(view.heading).toEqual(['job progress: 1 out of 2 complete']);
    expect(view.slots.map(({ label }) => label)).toEqual(['a', 'b']);
  });
});

describe('waiting for a job', () => {
  const one = (state: string) => {
    const desired = state === 'failed' ? 'shutdown' : 'complete';
    return [task(0, state, desired, { JobIteration: { Index: 0 } })];
  };
  const waited = (...states: readonly string[]) => {
    const { engine } = scripted(states.map(one));
    const job = service(
      { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } },
      { JobStatus: { JobIteration: { Index: 0 } } },
    );
    return runCommand(scale, ['web=1'], { engine: { ...engine, service: async () => job } });
  };

  test('ends as soon as it has completed', async () => {
    expect(await waited('running', 'complete')).toEqual({
      status: 0,
      stderr: '',
      stdout: `web scaled to 1
job progress: 0 out of 1 complete; active tasks: 1 out of 1 tasks
job progress: 1 out of 1 complete; active tasks: 0 out of 0 tasks
job complete
`,
    });
  });

  test('is an error when a task was given up', async () => {
    expect(await waited('running', 'failed')).toMatchObject({
      status: 1,
      stderr: 'job failed: 1 of 1 tasks did not complete\n',
    });
  });
});
