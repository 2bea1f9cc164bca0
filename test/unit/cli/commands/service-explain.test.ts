import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { explain } from '../../../../cli/commands/service-explain.ts';
import type { ServiceExplanationJson } from '../../../../common/model/engine-json/service.ts';
import { explanationToJson } from '../../../../daemon/engineapi/json/placement.ts';
import { idOf } from '../../../support/builders.ts';
import { runCommand } from '../../../support/cli-command.ts';

const json: ServiceExplanationJson = explanationToJson({
  serviceId: idOf('web'),
  serviceName: 'web',
  waiting: [
    {
      taskId: idOf('task'),
      slot: 3,
      nodeId: null,
      state: 'pending',
      reason: 'no suitable node (insufficient resources on 1 node)',
    },
  ],
  waitingCount: 7,
  nodes: [
    {
      nodeId: idOf('two'),
      hostname: 'worker-2',
      tasks: 2,
      refusals: [
        {
          filter: 'resource',
          detail: 'memory short by 512 MiB (needs 1 GiB, 512 MiB free)',
          remedy: 'free 512 MiB of memory there',
          shortBy: { MemoryBytes: 2 ** 29 },
        },
      ],
    },
  ],
  nearest: {
    nodeId: idOf('two'),
    hostname: 'worker-2',
    changes: ['free 512 MiB of memory there'],
  },
});
const engine = { serviceExplanation: async () => json };

describe('skep service explain', () => {
  test('prints who waits, what each node says, and what would help', async () => {
    const { status, stdout } = await runCommand(explain, ['web'], { engine });
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'WAITS     TASK                        STATE     REASON',
        'web.3     task000000000000000000000   pending   no suitable node (insufficient resources on 1 node)',
        'and 6 more',
        '',
        'NODE       TASKS     FITS      WHY NOT',
        'worker-2   2         no        resource: memory short by 512 MiB (needs 1 GiB, 512 MiB free)',
        '',
        'The nearest is worker-2. It would do after:',
        '  free 512 MiB of memory there',
        '',
      ].join('\n'),
    );
  });

  test('says so when nothing waits and a node will do', async () => {
    const calm: ServiceExplanationJson = {
      ...json,
      Waiting: [],
      WaitingCount: 0,
      Nodes: [{ NodeID: 'two', Hostname: '', Tasks: 2, Fits: true, Refusals: [] }],
      Nearest: null,
    };
    const { stdout } = await runCommand(explain, ['web'], {
      engine: { serviceExplanation: async () => calm },
    });
    expect(stdout).toBe(
      [
        'web: no task waits for a node',
        '',
        'NODE      TASKS     FITS      WHY NOT',
        'two       2         yes       ',
        '',
      ].join('\n'),
    );
  });

  test('prints JSON on demand', async () => {
    const { stdout } = await runCommand(explain, ['-o', 'json', 'web'], { engine });
    expect(JSON.parse(stdout)).toEqual(json);
  });

  test('fails in words for another form and for an unknown service', async () => {
    const form = await runCommand(explain, ['-o', 'yaml', 'web'], { engine });
    expect([form.status, form.stderr]).toEqual([
      1,
      "invalid --output 'yaml': expected text or json\n",
    ]);
    const missing = await runCommand(explain, ['nope'], {
      engine: {
        serviceExplanation: async () => {
          throw new ApiError(404, 'service nope not found');
        },
      },
    });
    expect([missing.status, missing.stderr]).toEqual([1, 'no such service: nope\n']);
  });
});
