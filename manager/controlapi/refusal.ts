/** Short forms of the errors that validation throws. */
import { SkepError } from '../../common/base/errors.ts';

export function invalid(message: string): SkepError {
  return new SkepError('invalid-argument', message);
}

export function failed(message: string): SkepError {
  return new SkepError('failed-precondition', message);
}

/** For what Swarm has and we do not yet: `what` names the field and its value. */
export function notDone(what: string): SkepError {
  return new SkepError('unimplemented', `${what} not done yet`);
}
