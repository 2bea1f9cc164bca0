/**
 * Whom a registry's certificate is checked against, and which certificate we show it: the system's
 * authorities and the folder of that host, in the layout of Docker's `certs.d`.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import type http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import tls from 'node:tls';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

const SYSTEM_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
/** For the issuer's name in an error only, ms. */
const ISSUER_TIMEOUT_MS = 3_000;
/** A registry's own and those of its token services and stores; how many these are is for others to say. */
const CONTEXTS_MAX = 16;

/** Of a registry and of the hosts that it leads to. Made at the first use, and again when the files changed: reading them takes some milliseconds. */
export class TlsContexts {
  readonly #own: string;
  readonly #certificateDirs: readonly string[];
  readonly #onForgotten: () => void;
  readonly #known = new Map<
    string,
    { readonly stamp: string; readonly context: tls.SecureContext }
  >();

  /** @param onForgotten a connection that was made before may know us, or its host, by other certificates than the next one */
  constructor(own: string, certificateDirs: readonly string[], onForgotten: () => void) {
    this.#own = own;
    this.#certificateDirs = certificateDirs;
    this.#onForgotten = onForgotten;
  }

  /** The registry's authorities count for other hosts as well, its certificates are shown to none of them. Throws as `registryTls`. */
  of(host: string): tls.SecureContext {
    const trustedWith = host === this.#own ? [] : [this.#own];
    const stamp = certificatesStamp([host, ...trustedWith], this.#certificateDirs);
    const known = this.#known.get(host);
    if (known?.stamp === stamp) return known.context;
    const isFull = known === undefined && this.#known.size >= CONTEXTS_MAX;
    if (isFull) this.#known.clear();
    if (known !== undefined || isFull) this.#onForgotten();
    const context = registryTls(host, this.#certificateDirs, trustedWith);
    this.#known.set(host, { stamp, context });
    return context;
  }
}

/**
 * Throws `failed-precondition` for a client certificate without its key and for files that are no
 * certificates: going on without would fail at the registry, in words that point elsewhere.
 * @param trustedWith hosts whose authorities (and no client certificates) count as well
 */
function registryTls(
  host: string,
  certificateDirs: readonly string[],
  trustedWith: readonly string[] = [],
): tls.SecureContext {
  const authorities: string[] = [];
  const certificates: string[] = [];
  const keys: string[] = [];
  for (const dir of foldersOf([host, ...trustedWith], certificateDirs)) {
    const names = readdirSync(dir).filter((name) => name.endsWith('.crt'));
    for (const name of names.sort()) authorities.push(readFileSync(join(dir, name), 'utf8'));
  }
  for (const dir of foldersOf([host], certificateDirs)) {
    const names = readdirSync(dir).sort();
    const read = (name: string): string => readFileSync(join(dir, name), 'utf8');
    for (const name of names.filter((n) => n.endsWith('.cert'))) {
      const key = name.replace(/cert$/, 'key');
      if (!names.includes(key)) {
        throw new SkepError(
          'failed-precondition',
          `read ${dir}: missing key ${key} for client certificate ${name}. CA certificates must use the extension .crt`,
        );
      }
      certificates.push(read(name));
      keys.push(read(key));
    }
  }
  try {
    return tls.createSecureContext({
      ca: [...systemAuthorities(), ...authorities],
      ...(certificates.length > 0 && { cert: certificates, key: keys }),
    });
  } catch (cause) {
    throw new SkepError('failed-precondition', `read certificates for registry ${host}`, { cause });
  }
}

function foldersOf(hosts: readonly string[], certificateDirs: readonly string[]): string[] {
  const all = certificateDirs.flatMap((dir) => hosts.map((host) => join(dir, host)));
  return all.filter((dir) => existsSync(dir));
}

/** Differs when any file that `registryTls` reads for these hosts may have changed. */
function certificatesStamp(hosts: readonly string[], certificateDirs: readonly string[]): string {
  const files = foldersOf(hosts, certificateDirs).flatMap((dir) =>
    readdirSync(dir).map((name) => join(dir, name)),
  );
  return [SYSTEM_CERTIFICATES, ...files]
    .map((path) => {
      const stats = statSync(path, { throwIfNoEntry: false });
      return `${path} ${stats?.mtimeMs} ${stats?.size} ${stats?.ino}`;
    })
    .join('\n');
}

/** What the operator's machine trusts; where it has no such file, what Node was built with. */
function systemAuthorities(): readonly string[] {
  if (!existsSync(SYSTEM_CERTIFICATES)) return tls.rootCertificates;
  return [readFileSync(SYSTEM_CERTIFICATES, 'utf8')];
}

/**
 * Who issued the certificate that a host shows, for people; null when that cannot be learned.
 * @param agent whose way to the host is taken, a proxy for one
 */
export function issuerOf(url: URL, clock: Clock, agent: http.Agent): Promise<string | null> {
  return new Promise((resolve) => {
    // Never ended, so that nothing is sent: only the certificate is looked at.
    const request = https.request(url, { agent, rejectUnauthorized: false });
    const timer = clock.setTimer(ISSUER_TIMEOUT_MS, () => request.destroy());
    const look = (socket: tls.TLSSocket): void => {
      const { issuer } = socket.getPeerCertificate();
      const name = issuer?.CN ?? issuer?.O;
      resolve(Array.isArray(name) ? (name[0] ?? null) : (name ?? null));
      request.destroy();
    };
    request.once('socket', (socket) => {
      (socket as tls.TLSSocket).once('secureConnect', () => look(socket as tls.TLSSocket));
    });
    request.once('error', () => resolve(null));
    request.once('close', () => {
      timer.cancel();
      resolve(null);
    });
  });
}
