/** `HostConfig.Links` and `EndpointConfig.Links`: `CONTAINER[:ALIAS]`. */
import { SkepError } from '../../../common/base/errors.ts';

interface LinkWords {
  /** name or id, as it was written */
  readonly target: string;
  readonly alias: string;
}

/** Throws `invalid-argument`. */
export function parseLink(text: string): LinkWords {
  const [target = '', alias, ...more] = text.split(':');
  if (more.length > 0 || target === '' || alias === '') {
    const why = text === '' ? 'empty string specified for links' : `bad format for links: ${text}`;
    throw new SkepError('invalid-argument', why);
  }
  const name = target.replace(/^\//, '');
  // As `inspect` shows one: `/db:/web/alias`.
  return { target: name, alias: (alias ?? name).split('/').at(-1) ?? name };
}
