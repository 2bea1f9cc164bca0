/** The states of a container and what may be done in each, in Docker's words. Pure. */
import { SkepError } from '../../common/base/errors.ts';

/**
 * As kept on disk. `created`: never ran. `restarting`: it ended and its rule will start it again.
 * `removing`: on its way out, also over a restart of the daemon. `dead`: it could not be removed.
 */
export type Phase = 'created' | 'running' | 'restarting' | 'exited' | 'removing' | 'dead';

/** As shown; the freezer tells what is paused. */
export type Condition = Phase | 'paused';

export interface Subject {
  readonly id: string;
  readonly name: string;
  readonly condition: Condition;
}

/** The condition wanted is there already: Docker answers 304. */
export type Verdict = 'go' | 'nothing-to-do';

const conflict = (words: string): SkepError => new SkepError('conflict', words);

export function requireStartable({ condition }: Subject): Verdict {
  switch (condition) {
    case 'created':
    case 'exited':
    case 'restarting':
      return 'go';
    case 'running':
      return 'nothing-to-do';
    case 'paused':
      throw conflict('cannot start a paused container, try unpause instead');
    case 'removing':
    case 'dead':
      throw conflict('container is marked for removal and cannot be started');
  }
}

export function requireStoppable({ condition }: Subject): Verdict {
  return condition === 'running' || condition === 'paused' || condition === 'restarting'
    ? 'go'
    : 'nothing-to-do';
}

/** @param name as the user wrote it */
export function requireKillable({ id, condition }: Subject, name: string): void {
  if (condition === 'running' || condition === 'paused') return;
  throw conflict(`cannot kill container: ${name}: container ${id} is not running`);
}

export function requirePausable({ id, condition }: Subject): void {
  if (condition === 'running') return;
  if (condition === 'paused') throw conflict(`container ${id} is already paused`);
  if (condition === 'restarting') {
    throw conflict(`container ${id} is restarting, wait until the container is running`);
  }
  throw conflict(`container ${id} is not running`);
}

export function requirePaused({ id, condition }: Subject): void {
  if (condition !== 'paused') throw conflict(`Container ${id} is not paused`);
}

export function requireRemovable({ id, name, condition }: Subject, force: boolean): void {
  if (condition === 'removing') throw conflict(`removal of container ${id} is already in progress`);
  if (force) return;
  const cannot = `cannot remove container "/${name}"`;
  if (condition === 'paused') {
    throw conflict(`${cannot}: container is paused and must be unpaused first`);
  }
  if (condition === 'running' || condition === 'restarting') {
    const how = 'stop the container before removing or force remove';
    throw conflict(`${cannot}: container is ${condition}: ${how}`);
  }
}

/** For what needs a process that answers: exec, attach. */
export function requireAnswering({ id, condition }: Subject, action: string): void {
  if (condition === 'running') return;
  if (condition === 'paused') {
    throw conflict(`container ${id} is paused, unpause the container before ${action}`);
  }
  if (condition === 'restarting') {
    throw conflict(`container ${id} is restarting, wait until the container is running`);
  }
  throw conflict(`container ${id} is not running`);
}

const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** The name without the slash that Docker puts before it. Throws `invalid-argument`. */
export function containerName(given: string): string {
  const name = given.replace(/^\//, '');
  if (!NAME_PATTERN.test(name)) {
    throw new SkepError(
      'invalid-argument',
      `Invalid container name (${given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  return name;
}

export function nameTaken(name: string, holderId: string): SkepError {
  return new SkepError(
    'name-conflict',
    `Conflict. The container name "/${name}" is already in use by container "${holderId}". ` +
      'You have to remove (or rename) that container to be able to reuse that name.',
  );
}
