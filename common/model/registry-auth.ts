/** Registry credentials as Docker's clients send them: base64 JSON in `X-Registry-Auth`. */
import { SkepError } from '../base/errors.ts';

export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
  /** a refresh token that stands for the user */
  readonly identityToken?: string;
}

/** null when nothing (or an empty object) was sent. Throws `invalid-argument`. */
export function parseRegistryAuth(header: string | null): RegistryCredentials | null {
  if (header === null || header === '') return null;
  const fields = parseFields(header);
  const text = (name: string): string => {
    const value = fields[name];
    return typeof value === 'string' ? value : '';
  };
  let username = text('username');
  let password = text('password');
  const auth = text('auth');
  if (username === '' && auth !== '') {
    const pair = Buffer.from(auth, 'base64').toString('utf8');
    const at = pair.indexOf(':');
    username = pair.slice(0, Math.max(at, 0));
    password = pair.slice(at + 1);
  }
  const identityToken = text('identitytoken') || text('identityToken');
  if (username === '' && identityToken === '') return null;
  return { username, password, ...(identityToken && { identityToken }) };
}

/** The other way round. @param serverAddress the registry's host */
export function encodeRegistryAuth(
  credentials: RegistryCredentials,
  serverAddress: string,
): string {
  const { username, password, identityToken } = credentials;
  const fields = {
    ...(identityToken ? { identitytoken: identityToken } : { username, password }),
    serveraddress: serverAddress,
  };
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

/** The parser's own words are not passed on: they quote what they could not read. */
function parseFields(header: string): Record<string, unknown> {
  let fields: unknown = null;
  try {
    fields = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'));
  } catch {
    // refused below
  }
  if (typeof fields === 'object' && fields !== null) return fields as Record<string, unknown>;
  throw new SkepError(
    'invalid-argument',
    'read registry credentials: not base 64 of a JSON object',
  );
}
