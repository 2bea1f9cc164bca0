import { expect, test } from 'vitest';
import { prettyService } from '../../../../cli/commands/service-pretty.ts';
import type { ServiceJson } from '../../../../common/model/engine-json/service.ts';

test('values stand in a column, and apart from labels that are wider than it', () => {
  const service = {
    ID: 'abc',
    Spec: {
      Name: 'sums',
      Mode: { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } },
      TaskTemplate: {
        ContainerSpec: { Image: 'w' },
        Networks: [{ Target: 'id-of-front' }, { Target: 'gone' }],
      },
    },
  } as unknown as ServiceJson;
  const lines = prettyService(service, new Map([['id-of-front', 'front']])).split('\n');
  expect(lines).toContain('Networks:       front gone');
  expect(lines.slice(0, 5)).toEqual([
    'ID:             abc',
    'Name:           sums',
    'Service Mode:   ReplicatedJob',
    ' Max Concurrent: 2',
    ' Total Completions: 5',
  ]);
});
