/** Rules for names that users choose: Swarm's pattern and lengths. */
import { SkepError } from '../base/errors.ts';

const NAME_PATTERN = /^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/;
const NAME_CHARS_MAX = 63;
const FILE_NAME_PATTERN = /^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/;
export const FILE_NAME_CHARS_MAX = 64;

/** Services and networks. Throws `invalid-argument`. */
export function checkName(name: string): void {
  if (name === '') throw new SkepError('invalid-argument', 'name must be provided');
  if (name.length > NAME_CHARS_MAX) {
    throw new SkepError('invalid-argument', `name must be ${NAME_CHARS_MAX} characters or fewer`);
  }
  // The length is bounded above, so that the nested quantifier cannot run away.
  if (!NAME_PATTERN.test(name)) {
    throw new SkepError(
      'invalid-argument',
      `name must be valid as a DNS name component: '${name}' may hold letters, digits, '-' and '_' only, and starts and ends with a letter or digit`,
    );
  }
}

/** Secrets and configs. Throws `invalid-argument`. */
export function checkFileObjectName(kind: 'secret' | 'config', name: string): void {
  if (name.length > FILE_NAME_CHARS_MAX || !FILE_NAME_PATTERN.test(name)) {
    throw new SkepError(
      'invalid-argument',
      `invalid name, only ${FILE_NAME_CHARS_MAX} [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]: ${kind} '${name}'`,
    );
  }
}
