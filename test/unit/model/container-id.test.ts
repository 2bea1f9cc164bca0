import { describe, expect, test } from 'vitest';
import {
  containerIdOf,
  defaultHostname,
  SHORT_ID_CHARS,
} from '../../../common/model/container-id.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { idOf } from '../../support/builders.ts';

const TASK = idOf<TaskId>('task');

describe('container id', () => {
  test('is 64 hexadecimal characters, the same on every node and in every version', () => {
    // SHA-256 of the task's id: clients keep these, so they may not change with a release.
    expect(containerIdOf(TASK)).toBe(
      '228d25cc8e96c9416cd5b79fde0007af85ae39722ec2ecd0a7eb5dc7d015f167',
    );
  });

  test('differs from task to task', () => {
    expect(containerIdOf(idOf<TaskId>('other'))).not.toBe(containerIdOf(TASK));
  });

  test('its short form is the default host name', () => {
    expect(SHORT_ID_CHARS).toBe(12);
    expect(defaultHostname(TASK)).toBe(containerIdOf(TASK).slice(0, 12));
  });
});
