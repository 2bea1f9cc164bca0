/**
 * What an operator says of registries - who is trusted without TLS, where mirrors are, which proxy is
 * between - as values that answer questions. Pure; opens nothing.
 */
import { BlockList, isIP } from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import { DEFAULT_REGISTRY } from '../../common/model/image-reference.ts';

export interface RegistrySettings {
  /** `host`, `host:port` or CIDR: plain HTTP and unverified TLS are allowed there (always on loopback) */
  readonly insecureRegistries: readonly string[];
  /**
   * Folders with `<host[:port]>/*.crt` (authorities), `*.cert` and `*.key` (of this client), as Docker's
   * `/etc/docker/certs.d`. Read when a host is spoken to first and when they changed;
   * absent ones are passed over.
   */
  readonly certificateDirs: readonly string[];
  /** `URL` of a mirror of docker.io, or `<registry>=<URL>`; asked in this order, before the registry */
  readonly mirrors: readonly string[];
  readonly proxy: ProxySettings;
}

/** URLs; null = none. */
export interface ProxySettings {
  readonly http: string | null;
  readonly https: string | null;
  /** as in `NO_PROXY`: names (with all below them), `host:port`, addresses, subnets; `*` = all */
  readonly except: readonly string[];
}

export const NO_PROXIES: ProxySettings = { http: null, https: null, except: [] };

/** Hosts by name, `host:port`, address or subnet. */
class HostSet {
  readonly #subnets = new BlockList();
  readonly #names = new Set<string>();

  constructor(what: string, entries: readonly string[]) {
    for (const entry of entries) {
      const [address, prefix] = entry.split('/');
      const family = isIP(address!);
      if (prefix !== undefined) {
        if (family === 0 || !/^\d+$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) {
          throw new SkepError('invalid-argument', `${what} ${entry}: not a subnet`);
        }
        this.#subnets.addSubnet(address!, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
      } else {
        this.#names.add(entry.toLowerCase());
      }
    }
  }

  has(host: string): boolean {
    const lower = host.toLowerCase();
    const name = hostName(lower);
    if (this.#names.has(lower) || this.#names.has(name)) return true;
    const family = isIP(name);
    return family !== 0 && this.#subnets.check(name, family === 4 ? 'ipv4' : 'ipv6');
  }
}

const LOOPBACK: readonly string[] = ['localhost', '127.0.0.0/8', '::1/128'];

function hostName(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

/** Hosts with which plain HTTP and unverified certificates are accepted. */
export class InsecureList {
  readonly #hosts: HostSet;

  /** @param entries `host`, `host:port` or CIDR. Throws `invalid-argument`. */
  constructor(entries: readonly string[]) {
    this.#hosts = new HostSet('insecure registry', [...LOOPBACK, ...entries]);
  }

  /** @param host with or without port */
  has(host: string): boolean {
    return this.#hosts.has(host);
  }
}

/** Which proxy leads to a host. */
export class ProxyRules {
  readonly #settings: ProxySettings;
  readonly #direct: HostSet;
  readonly #suffixes: readonly string[];

  /** Throws `invalid-argument` for a proxy that is no http(s) URL, or a malformed subnet. */
  constructor(settings: ProxySettings) {
    for (const url of [settings.http, settings.https]) {
      if (url !== null) requireHttpUrl('proxy', url);
    }
    this.#settings = settings;
    const except = settings.except.map((entry) => entry.trim()).filter((entry) => entry !== '');
    this.#direct = new HostSet('no-proxy', [...LOOPBACK, ...except]);
    this.#suffixes = except.map((entry) =>
      entry === '*' ? '' : entry.toLowerCase().replace(/^\*?\.?/, '.'),
    );
  }

  /** @param host with or without port; null = go there directly */
  proxyFor(scheme: 'http' | 'https', host: string): string | null {
    const name = `.${hostName(host.toLowerCase())}`;
    if (this.#direct.has(host) || this.#suffixes.some((suffix) => name.endsWith(suffix))) {
      return null;
    }
    return this.#settings[scheme];
  }
}

export interface Mirror {
  readonly scheme: 'http' | 'https';
  /** with port, when it was given */
  readonly host: string;
}

/** Mirrors by the registry that they stand for, in the order given. Throws `invalid-argument`. */
export function parseMirrors(entries: readonly string[]): ReadonlyMap<string, readonly Mirror[]> {
  const mirrors = new Map<string, Mirror[]>();
  for (const entry of entries) {
    const at = entry.search(/=(?=https?:\/\/)/);
    const domain = at < 0 ? DEFAULT_REGISTRY : entry.slice(0, at);
    const url = requireHttpUrl('registry mirror', entry.slice(at + 1));
    if (domain === '' || url.pathname !== '/' || url.search !== '' || url.username !== '') {
      throw new SkepError(
        'invalid-argument',
        `registry mirror ${entry}: expected [REGISTRY=]http(s)://HOST[:PORT] without path or user`,
      );
    }
    const scheme = url.protocol === 'http:' ? 'http' : 'https';
    mirrors.set(domain, [...(mirrors.get(domain) ?? []), { scheme, host: url.host }]);
  }
  return mirrors;
}

function requireHttpUrl(what: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new SkepError('invalid-argument', `${what} ${text}: expected an http or https URL`);
}
