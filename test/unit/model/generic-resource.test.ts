import { describe, expect, test } from 'vitest';
import {
  genericResourceEnvironment,
  parseGenericResources,
} from '../../../common/model/generic-resource.ts';

describe('generic resources of a node', () => {
  test('are counts or values, one by one or separated by commas', () => {
    expect(parseGenericResources(['gpu=UUID1,gpu=UUID2', 'ssd=3'])).toEqual([
      { kind: 'gpu', value: 'UUID1' },
      { kind: 'gpu', value: 'UUID2' },
      { kind: 'ssd', value: 3 },
    ]);
    expect(parseGenericResources([])).toEqual([]);
  });

  test.each([
    ['gpu', 'expected KIND=COUNT or KIND=VALUE'],
    ['=3', 'expected KIND=COUNT or KIND=VALUE'],
    ['gpu=', 'expected KIND=COUNT or KIND=VALUE'],
    ['g p=1', 'expected KIND=COUNT or KIND=VALUE'],
    ['ssd=0', 'a count is at least 1'],
    ['ssd=-1', 'a count is at least 1'],
    ['ssd=1,ssd=2', 'each kind is one count, or values that differ'],
    ['gpu=a,gpu=a', 'each kind is one count, or values that differ'],
    ['gpu=a,gpu=1', 'each kind is one count, or values that differ'],
    ['gpu=1,gpu=a', 'each kind is one count, or values that differ'],
  ])('%s is refused: %s', (text, rule) => {
    expect(() => parseGenericResources([text])).toThrow(rule);
  });
});

test('a task is told what it got in its environment', () => {
  const assigned = [
    { kind: 'gpu', value: 'UUID1' },
    { kind: 'ssd', value: 2 },
    { kind: 'gpu', value: 'UUID2' },
  ];
  expect(genericResourceEnvironment(assigned)).toEqual([
    'DOCKER_RESOURCE_GPU=UUID1,UUID2',
    'DOCKER_RESOURCE_SSD=2',
  ]);
});
