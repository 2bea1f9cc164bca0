/** That all lines are docker's is proved beside it, in `test/native/docker-output`. */
import { expect, test } from 'vitest';
import { prettyService } from '../../../../cli/commands/service-pretty.ts';
import type { ServiceJson } from '../../../../common/model/engine-json/service.ts';

const WORLD = { networks: new Map([['id-of-front', 'front']]), nowMs: Date.UTC(2026, 0, 1) };

const linesOf = (spec: object, more: object = {}): string[] =>
  prettyService({ ID: 'abc', Spec: spec, ...more } as unknown as ServiceJson, WORLD).split('\n');

test('a job says how often, and a network that is gone has its id', () => {
  const lines = linesOf({
    Name: 'sums',
    Mode: { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } },
    TaskTemplate: {
      ContainerSpec: { Image: 'w' },
      Networks: [{ Target: 'id-of-front' }, { Target: 'gone' }],
    },
  });
  expect(lines.slice(0, 6)).toEqual([
    'ID:\t\tabc',
    'Name:\t\tsums',
    'Service Mode:\tReplicatedJob',
    ' Max Concurrent:\t2',
    ' Total Completions:\t5',
    'Placement:',
  ]);
  expect(lines).toContain('Networks: front gone');
});

test('says what docker leaves out: the entrypoint, the host name, the address of a port', () => {
  const port = { PublishedPort: 80, TargetPort: 80, HostIp: '10.0.0.1' };
  const container = { Image: 'w', Command: ['sh', '-c', 'x y'], Hostname: 'h' };
  const lines = linesOf(
    { Name: 'web', TaskTemplate: { ContainerSpec: container } },
    { Endpoint: { Ports: [port] } },
  );
  for (const line of [' Entrypoint:\tsh -c x y', ' Hostname:\th', '  HostIp = 10.0.0.1']) {
    expect(lines).toContain(line);
  }
});
