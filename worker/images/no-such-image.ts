/** What Docker says of an image that is not here. */
import { SkepError } from '../../common/base/errors.ts';
import {
  familiarReference,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';

export function noSuchImage(reference: string): SkepError {
  let name = reference;
  try {
    name = familiarReference(withDefaultTag(parseImageReference(reference)));
  } catch {
    // an id or nonsense: shown as it was given
  }
  return new SkepError('not-found', `No such image: ${name}`);
}
