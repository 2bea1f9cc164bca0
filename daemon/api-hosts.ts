/**
 * Where the Engine API is served, and how it is secured: `--host` and the flags of TLS, as dockerd has them. Who
 * reaches the API is root here, so that what lets anybody in must be said in so many words. Pure.
 */
import { SkepError } from '../common/base/errors.ts';

export type ApiHost =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      readonly security: ApiSecurity;
    }
  /** sockets that the process was started with; `which`: a number or name, '' = all of them */
  | {
      readonly kind: 'fd';
      readonly which: string;
      readonly security: ApiSecurity;
      /** it was said that whoever reaches it by TCP may use it */
      readonly mayBeOpen: boolean;
    };

/** Of connections by TCP. */
export type ApiSecurity =
  | { readonly kind: 'plain' }
  | {
      readonly kind: 'tls';
      readonly certPath: string;
      readonly keyPath: string;
      /** whose certificates clients must have; null = anybody may connect */
      readonly clientCaPath: string | null;
    };

/** Undefined = not said. */
export interface TlsFlags {
  readonly tls?: boolean | undefined;
  readonly tlsverify?: boolean | undefined;
  readonly tlscacert?: string | undefined;
  readonly tlscert?: string | undefined;
  readonly tlskey?: string | undefined;
  /** where the files lie that no flag names */
  readonly tlsDir?: string | undefined;
}

const DEFAULT_TLS_DIR = '/etc/skep';
const PLAIN_PORT = 2375;
const TLS_PORT = 2376;

/** Throws `invalid-argument` for a host that is none, or that would let anybody in without having been told to. */
export function parseApiHosts(urls: readonly string[], flags: TlsFlags): readonly ApiHost[] {
  const security = securityOf(flags);
  return urls.map((url) => {
    const [, scheme = '', rest = ''] = /^([a-z]+):\/\/(.*)$/.exec(url) ?? [];
    switch (scheme) {
      case 'unix':
        if (rest.startsWith('/')) return { kind: 'unix', path: rest };
        throw invalid(url, 'expected unix:///ABSOLUTE/PATH');
      case 'tcp':
        return tcpHost(url, rest, security, flags);
      case 'fd':
        return {
          kind: 'fd',
          which: rest === '*' ? '' : rest,
          security,
          mayBeOpen: saysOpen(flags),
        };
      default:
        throw invalid(url, 'expected unix:///PATH, tcp://IP:PORT or fd://');
    }
  });
}

/** Throws when whoever connects at `place` would be let in, and nobody said that this is meant. */
export function requireClosed(place: string, security: ApiSecurity, mayBeOpen: boolean): void {
  if (mayBeOpen || !isOpen(security)) return;
  throw invalid(
    place,
    'whoever connects would be root on this host: use --tlsverify, or say --tlsverify=false',
  );
}

/** True when whoever connects is let in. */
export function isOpen(security: ApiSecurity): boolean {
  return security.kind === 'plain' || security.clientCaPath === null;
}

function saysOpen({ tls, tlsverify }: TlsFlags): boolean {
  return tlsverify === false || (tls === false && tlsverify === undefined);
}

function securityOf(flags: TlsFlags): ApiSecurity {
  const { tls, tlsverify } = flags;
  if (tls === false && tlsverify === true) {
    throw new SkepError('invalid-argument', '--tlsverify: needs TLS, which --tls=false forbids');
  }
  if (!tls && !tlsverify) return { kind: 'plain' };
  const dir = flags.tlsDir ?? DEFAULT_TLS_DIR;
  return {
    kind: 'tls',
    certPath: flags.tlscert ?? `${dir}/cert.pem`,
    keyPath: flags.tlskey ?? `${dir}/key.pem`,
    clientCaPath: tlsverify ? (flags.tlscacert ?? `${dir}/ca.pem`) : null,
  };
}

function tcpHost(url: string, rest: string, security: ApiSecurity, flags: TlsFlags): ApiHost {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:/[\]]*))(?::(\d{1,5}))?\/?$/.exec(rest);
  const port = Number(match?.[3] ?? (security.kind === 'tls' ? TLS_PORT : PLAIN_PORT));
  if (!match || port > 65_535) throw invalid(url, 'expected tcp://IP:PORT');
  const host = match[1] ?? (match[2] || '127.0.0.1'); // as dockerd: no address is this host alone
  if (!isLoopback(host)) requireClosed(url, security, saysOpen(flags));
  return { kind: 'tcp', host, port, security };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}

function invalid(url: string, rule: string): SkepError {
  return new SkepError('invalid-argument', `--host ${url}: ${rule}`);
}
