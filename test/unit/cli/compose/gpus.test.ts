import { describe, expect, test } from 'vitest';
import { parseGpus } from '../../../../cli/compose/gpus.ts';
import { loadStack } from '../../../../cli/compose/load-stack.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const request = (change: object) => ({
  ...{ Driver: '', Count: 0, DeviceIDs: null, Capabilities: [['gpu']] },
  ...change,
});

describe('requests for devices', () => {
  test.each([
    ['all', request({ Count: -1 })],
    ['2', request({ Count: 2 })],
    ['driver=nvidia', request({ Driver: 'nvidia', Count: 1 })],
    ['"device=0,GPU-1"', request({ DeviceIDs: ['0', 'GPU-1'] })],
    [
      'count=all,"capabilities=compute,utility"',
      request({ Count: -1, Capabilities: [['compute', 'utility', 'gpu']] }),
    ],
  ])('--gpus %s', (text, expected) => {
    expect(parseGpus(text)).toEqual(expected);
  });

  test.each([
    ['some', "a count is 'all' or a number"],
    ['2,3', "'count' can be specified only once"],
    ['vendor=x', "unexpected key 'vendor'"],
  ])('--gpus %s is refused: %s', (text, words) => {
    expect(() => parseGpus(text)).toThrow(`--gpus ${text}: ${words}`);
  });

  test.each([
    ['gpus: all', [request({ Count: -1 })]],
    ['gpus: [{driver: nvidia, count: 2}]', [request({ Driver: 'nvidia', Count: 2 })]],
    [
      'deploy: {resources: {reservations: {devices: [{capabilities: [gpu, compute], device_ids: ["3"]}]}}}',
      [request({ DeviceIDs: ['3'], Capabilities: [['gpu', 'compute']] })],
    ],
    [
      'deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}}',
      [request({ Count: -1 })],
    ],
  ])('of a stack file: %s', (text, expected) => {
    const files = { 'f.yml': `services:\n  a:\n    image: a\n    ${text}\n    runtime: crun\n` };
    const { stack } = loadStack(stackRequestOf({ files }));
    expect(stack.services[0]!.spec.TaskTemplate.ContainerSpec).toMatchObject({
      DeviceRequests: expected,
      Runtime: 'crun',
    });
  });
});
