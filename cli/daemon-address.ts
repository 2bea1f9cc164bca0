/** Which daemon a command is for. Reads the files of contexts where nothing nearer says it. */
import { join } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import {
  ContextStore,
  contextInForce,
  DEFAULT_CONTEXT,
  defaultHost,
  type StoredContext,
} from './client/contexts.ts';
import { type GlobalOptions, type TlsFiles, tlsFiles } from './global-options.ts';

export interface DaemonAddress {
  readonly host: string;
  readonly tls: TlsFiles | null;
}

/**
 * Throws for a context that is not there, or names no daemon.
 * @param env with what the flags say of host and context
 */
export function daemonAddress(
  options: GlobalOptions,
  env: Readonly<Record<string, string | undefined>>,
): DaemonAddress {
  const name = contextInForce(env);
  if (name === DEFAULT_CONTEXT) return { host: defaultHost(env), tls: tlsFiles(options, env) };
  const context = new ContextStore(env).require(name);
  const host = context.meta.Endpoints.docker?.Host;
  if (!host) throw new SkepError('invalid-argument', `context "${name}" names no daemon`);
  const { HOME } = env;
  // What the environment says of TLS is about the host that it names.
  return { host, tls: tlsFiles(options, { HOME }) ?? tlsOf(context) };
}

function tlsOf({ meta, tlsPath, tlsFiles: present }: StoredContext): TlsFiles | null {
  const skipsVerify = meta.Endpoints.docker?.SkipTLSVerify ?? false;
  if (present.length === 0 && !skipsVerify) return null;
  const file = (name: (typeof present)[number]) => ({
    path: join(tlsPath, 'docker', name),
    isNeeded: present.includes(name),
  });
  return {
    verify: !skipsVerify,
    ca: file('ca.pem'),
    cert: file('cert.pem'),
    key: file('key.pem'),
  };
}
