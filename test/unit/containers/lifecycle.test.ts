import { describe, expect, test } from 'vitest';
import {
  type Condition,
  containerName,
  requireAnswering,
  requireKillable,
  requirePausable,
  requirePaused,
  requireRemovable,
  requireStartable,
  requireStoppable,
  type Subject,
} from '../../../worker/containers/lifecycle.ts';

const CONDITIONS: readonly Condition[] = [
  'created',
  'running',
  'paused',
  'restarting',
  'exited',
  'removing',
  'dead',
];

/** What each condition answers: a verdict, `ok`, or the words of the refusal. */
function answers(ask: (subject: Subject) => unknown): Record<string, unknown> {
  const answerIn = (condition: Condition): unknown => {
    try {
      return ask({ id: 'ID', name: 'web', condition }) ?? 'ok';
    } catch (err) {
      return (err as Error).message;
    }
  };
  return Object.fromEntries(CONDITIONS.map((condition) => [condition, answerIn(condition)]));
}

describe('what may be done to a container', () => {
  test('start: of one that does not run; 304 for one that does', () => {
    const marked = 'container is marked for removal and cannot be started';
    expect(answers(requireStartable)).toEqual({
      created: 'go',
      running: 'nothing-to-do',
      paused: 'cannot start a paused container, try unpause instead',
      restarting: 'go',
      exited: 'go',
      removing: marked,
      dead: marked,
    });
  });

  test('stop: of one that runs or is about to; 304 else', () => {
    expect(answers(requireStoppable)).toEqual({
      created: 'nothing-to-do',
      running: 'go',
      paused: 'go',
      restarting: 'go',
      exited: 'nothing-to-do',
      removing: 'nothing-to-do',
      dead: 'nothing-to-do',
    });
  });

  test('kill: of one that runs', () => {
    const refused = 'cannot kill container: w: container ID is not running';
    expect(answers((subject) => requireKillable(subject, 'w'))).toEqual({
      created: refused,
      running: 'ok',
      paused: 'ok',
      restarting: refused,
      exited: refused,
      removing: refused,
      dead: refused,
    });
  });

  test('pause and unpause: of one that runs, of one that is paused', () => {
    const notRunning = 'container ID is not running';
    expect(answers(requirePausable)).toEqual({
      created: notRunning,
      running: 'ok',
      paused: 'container ID is already paused',
      restarting: 'container ID is restarting, wait until the container is running',
      exited: notRunning,
      removing: notRunning,
      dead: notRunning,
    });
    const rest = CONDITIONS.filter((one) => one !== 'paused');
    expect(answers(requirePaused)).toEqual({
      ...Object.fromEntries(rest.map((one) => [one, 'Container ID is not paused'])),
      paused: 'ok',
    });
  });

  test('remove: of one at rest; by force of any that is not being removed', () => {
    const how = 'stop the container before removing or force remove';
    const cannot = 'cannot remove container "/web"';
    const atRest = { created: 'ok', exited: 'ok', dead: 'ok' };
    const removing = 'removal of container ID is already in progress';
    expect(answers((subject) => requireRemovable(subject, false))).toEqual({
      ...atRest,
      running: `${cannot}: container is running: ${how}`,
      paused: `${cannot}: container is paused and must be unpaused first`,
      restarting: `${cannot}: container is restarting: ${how}`,
      removing,
    });
    expect(answers((subject) => requireRemovable(subject, true))).toEqual({
      ...atRest,
      running: 'ok',
      paused: 'ok',
      restarting: 'ok',
      removing,
    });
  });

  test('exec and attach: of one that answers', () => {
    expect(answers((subject) => requireAnswering(subject, 'exec'))).toMatchObject({
      running: 'ok',
      paused: 'container ID is paused, unpause the container before exec',
      exited: 'container ID is not running',
    });
  });

  test.each([
    ['web', 'web'],
    ['/web', 'web'],
    ['a_b.c-1', 'a_b.c-1'],
  ])('%s is the name %s', (given, name) => {
    expect(containerName(given)).toBe(name);
  });

  test.each(['', 'a', '-web', 'we b', 'a/b', 'ö1'])('%j is no name', (given) => {
    expect(() => containerName(given)).toThrow('Invalid container name');
  });
});
