/** The registries that this node speaks to: one endpoint for each host, made at its first use. */
import type { Clock } from '../../common/base/clock.ts';
import { RegistryEndpoint, registryHost } from './registry-endpoint.ts';
import {
  InsecureList,
  type Mirror,
  ProxyRules,
  parseMirrors,
  type RegistrySettings,
} from './registry-settings.ts';

export class RegistryHosts {
  readonly #clock: Clock;
  readonly #settings: RegistrySettings;
  readonly #insecure: InsecureList;
  readonly #mirrors: ReadonlyMap<string, readonly Mirror[]>;
  readonly #proxies: ProxyRules;
  readonly #endpoints = new Map<string, RegistryEndpoint>();

  /** Throws `invalid-argument` for malformed settings. */
  constructor(settings: RegistrySettings, clock: Clock) {
    this.#clock = clock;
    this.#settings = settings;
    this.#insecure = new InsecureList(settings.insecureRegistries);
    this.#mirrors = parseMirrors(settings.mirrors);
    this.#proxies = new ProxyRules(settings.proxy);
  }

  close(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.close();
  }

  /** The registry itself. @param domain as in image names */
  origin(domain: string): RegistryEndpoint {
    return this.#endpoint(registryHost(domain), null);
  }

  /** Those to ask before it, in order. They are never given the user's password. */
  mirrors(domain: string): RegistryEndpoint[] {
    const mirrors = this.#mirrors.get(domain) ?? [];
    return mirrors.map(({ host, scheme }) => this.#endpoint(host, scheme));
  }

  /** Another host, that a URL names; the caller closes it. */
  site(url: URL): RegistryEndpoint {
    return this.#newEndpoint(url.host, url.protocol === 'http:' ? 'http' : 'https');
  }

  #endpoint(host: string, scheme: Mirror['scheme'] | null): RegistryEndpoint {
    const key = `${scheme ?? ''} ${host}`;
    let endpoint = this.#endpoints.get(key);
    if (!endpoint) {
      endpoint = this.#newEndpoint(host, scheme);
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }

  #newEndpoint(host: string, scheme: Mirror['scheme'] | null): RegistryEndpoint {
    return new RegistryEndpoint({
      clock: this.#clock,
      host,
      isInsecure: (name) => this.#insecure.has(name),
      certificateDirs: this.#settings.certificateDirs,
      scheme,
      proxies: this.#proxies,
    });
  }
}
