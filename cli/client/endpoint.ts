/** Where a daemon is and how it is reached, as Docker's clients write it. Pure. */
import { SkepError } from '../../common/base/errors.ts';

/** PEM; undefined = not given. */
export interface ClientTls {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** whether the daemon must show a certificate of `ca` (or of the system's authorities) */
  readonly verify: boolean;
}

export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      /** null = plain */
      readonly tls: ClientTls | null;
    }
  | {
      readonly kind: 'ssh';
      readonly user: string | null;
      readonly host: string;
      readonly port: number | null;
      /** of the daemon's socket there; null = what `skep` uses there */
      readonly path: string | null;
    };

const PLAIN_PORT = 2375;
const TLS_PORT = 2376;
/** One that begins with a dash would be a flag of ssh. */
const SSH_WORD = /^[^-][^\s]*$/;

/**
 * `unix:///PATH`, `tcp://HOST[:PORT]` (with `tls` when there is one) or `ssh://[USER@]HOST[:PORT][/SOCKET]`. Throws
 * `invalid-argument`.
 */
export function parseEndpoint(url: string, tls: ClientTls | null): Endpoint {
  const [, scheme = '', rest = ''] = /^([a-z]+):\/\/(.*)$/.exec(url) ?? [];
  switch (scheme) {
    case 'unix':
      if (rest.startsWith('/')) return { kind: 'unix', path: rest };
      throw new SkepError('invalid-argument', `host ${url}: expected unix:///ABSOLUTE/PATH`);
    case 'tcp': {
      const { host, port } = addressOf(url, rest.replace(/\/$/, ''));
      if (host === '') return { kind: 'tcp', host: '127.0.0.1', port: port ?? portOf(tls), tls };
      return { kind: 'tcp', host, port: port ?? portOf(tls), tls };
    }
    case 'ssh':
      return sshEndpoint(url, rest);
    case 'npipe':
      throw new SkepError('unimplemented', `host ${url}: named pipes are a feature of Windows`);
    default:
      throw new SkepError('invalid-argument', `unable to parse docker host '${url}'`);
  }
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** Whether a daemon at `url` is one of this machine. */
export function isLocalHost(url: string): boolean {
  const endpoint = parseEndpoint(url, null);
  return endpoint.kind === 'unix' || (endpoint.kind === 'tcp' && LOOPBACK.test(endpoint.host));
}

const portOf = (tls: ClientTls | null): number => (tls === null ? PLAIN_PORT : TLS_PORT);

function sshEndpoint(url: string, rest: string): Endpoint {
  const [, user = null, address = '', path = null] =
    /^(?:([^@/]+)@)?([^/]*)(\/.+)?\/?$/.exec(rest) ?? [];
  const { host, port } = addressOf(url, address);
  if (!SSH_WORD.test(host) || (user !== null && !SSH_WORD.test(user)) || user?.includes(':')) {
    throw new SkepError('invalid-argument', `host ${url}: expected ssh://[USER@]HOST[:PORT]`);
  }
  return { kind: 'ssh', user, host, port, path };
}

function addressOf(url: string, text: string): { host: string; port: number | null } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]/]*))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? null : Number(match[3]);
  if (!match || (port !== null && port > 65_535)) {
    throw new SkepError('invalid-argument', `host ${url}: expected HOST[:PORT]`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}
