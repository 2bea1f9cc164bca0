/**
 * Keeps the registry logins of services alive. A login by an identity token (a refresh token) ends some day, and its registry
 * gives another one to who uses it before: the leader does that for all, and puts the new token where the old one was; also
 * when a registry gave another one to who pulled. Leader only; writes `registryAuth` of services, nothing else. Passwords are
 * the user's: only the user has the next one.
 */
import type { Clock } from '../common/base/clock.ts';
import { type OnFailure, TaskSet } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import { Nudge } from '../common/base/nudge.ts';
import { parseImageReference } from '../common/model/image-reference.ts';
import {
  encodeRegistryAuth,
  type RegistryCredentials as Login,
  parseRegistryAuth,
} from '../common/model/registry-auth.ts';
import type { Service, ServiceSpec } from '../common/model/service.ts';
import type { Store } from './store/types.ts';

/** What the leader's node knows of logins, and does with them. */
export interface RegistryLogins {
  /** The identity token to use from now on, which may be the same. Rejects with the registry's words. */
  renew(domain: string, identityToken: string, signal: AbortSignal): Promise<string>;
  /** What stands for the user now, after what registries gave instead. */
  latest(domain: string, identityToken: string): string;
  /** Told when a token was replaced. Returns the release. */
  onReplaced(listener: () => void): () => void;
}

export interface RegistryCredentialsOptions {
  readonly store: Store;
  readonly logins: RegistryLogins;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** The leader looks for logins that are due at least so often, */
export const LOOK_PERIOD_MS = 60_000;
/** and not sooner again than that for one that is due: a nudge is heeded at once. */
const LOOK_PAUSE_MS = 1_000;
/** A token that does not say when it ends is used so often. */
export const OPAQUE_PERIOD_MS = 3_600_000;
/** After a failure, and when a token is not replaced although its end is near. */
export const RETRY_MS = 300_000;
/** Of a token's life that passes before it is renewed, as for certificates. */
const RENEW_AT = 2 / 3;

/** One at its registry, however many specs hold it, and in whatever words. */
interface HeldLogin {
  /** of domain and token */
  readonly key: string;
  readonly domain: string;
  readonly identityToken: string;
}

export class RegistryCredentials {
  readonly #options: RegistryCredentialsOptions;
  readonly #tasks: TaskSet;
  readonly #nudge = new Nudge();
  #release = (): void => {};
  /** wall clock, by the key of the login */
  #dueAtMs: ReadonlyMap<string, number> = new Map();

  constructor(options: RegistryCredentialsOptions) {
    this.#options = options;
    this.#tasks = new TaskSet(options.onFailure);
  }

  async start(): Promise<void> {
    const { clock, logins } = this.#options;
    this.#release = logins.onReplaced(() => this.#nudge.give());
    this.#tasks.run(async (signal) => {
      for (;;) {
        await this.#nudge.wait(clock, this.#untilNextMs(), signal);
        await this.#look(signal);
      }
    });
  }

  stop(): Promise<void> {
    this.#release();
    return this.#tasks.stop();
  }

  #untilNextMs(): number {
    const leftMs = Math.min(...this.#dueAtMs.values()) - this.#options.clock.wallMs();
    return Math.min(Math.max(leftMs, LOOK_PAUSE_MS), LOOK_PERIOD_MS);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { store, logins } = this.#options;
    const held = store.view((view) => heldLogins(view.list('service')));
    const dueAtMs = new Map<string, number>();
    // What is there already is written before any registry is asked: one may take its time, and nodes use what is written.
    const isReplaced = held.map(
      ({ domain, identityToken }) => logins.latest(domain, identityToken) !== identityToken,
    );
    const first = held.filter((_, at) => isReplaced[at]);
    for (const login of [...first, ...held.filter((_, at) => !isReplaced[at])]) {
      const { key, nextMs } = await this.#keep(login, signal);
      dueAtMs.set(key, nextMs);
    }
    this.#dueAtMs = dueAtMs;
  }

  /** The key of what it is from now on, and when it is due again. */
  async #keep(login: HeldLogin, signal: AbortSignal): Promise<{ key: string; nextMs: number }> {
    const { clock, log, logins } = this.#options;
    const { domain, identityToken, key } = login;
    let latest = logins.latest(domain, identityToken);
    try {
      if (latest === identityToken) {
        const dueMs = this.#dueAtMs.get(key) ?? renewalMs(identityToken, clock.wallMs());
        if (dueMs > clock.wallMs()) return { key, nextMs: dueMs };
        latest = await logins.renew(domain, identityToken, signal);
      }
      const nowMs = clock.wallMs();
      if (latest === identityToken) {
        return { key, nextMs: Math.max(renewalMs(identityToken, nowMs), nowMs + RETRY_MS) };
      }
      const auth = encodeRegistryAuth(
        { username: '', password: '', identityToken: latest },
        domain,
      );
      const services = await this.#replace(key, auth, signal);
      log.info({ registry: domain, services }, 'registry login renewed');
      return { key: keyOf(domain, latest), nextMs: renewalMs(latest, nowMs) };
    } catch (err) {
      signal.throwIfAborted();
      log.warn({ err, registry: domain }, 'registry login is not renewed, will be retried');
      // One that is there and could not be written is not asked for again: the next look writes it.
      return { key, nextMs: clock.wallMs() + RETRY_MS };
    }
  }

  /** How many services had it. Their versions of the spec stay what they are: no task is replaced. */
  async #replace(key: string, next: string, signal: AbortSignal): Promise<number> {
    const { store } = this.#options;
    const holders = store.view((view) => view.list('service').filter((one) => holds(one, key)));
    await store.batch(
      holders,
      (tx, { id }) => {
        const service = tx.get('service', id);
        if (!service || !holds(service, key)) return;
        const previousSpec = service.previousSpec && replaced(service.previousSpec, key, next);
        tx.update('service', { ...service, spec: replaced(service.spec, key, next), previousSpec });
      },
      signal,
    );
    return holders.length;
  }
}

function specsOf({ spec, previousSpec }: Service): readonly ServiceSpec[] {
  return previousSpec ? [spec, previousSpec] : [spec];
}

function holds(service: Service, key: string): boolean {
  return specsOf(service).some((spec) => loginOf(spec)?.key === key);
}

function replaced(spec: ServiceSpec, key: string, next: string): ServiceSpec {
  if (loginOf(spec)?.key !== key) return spec;
  const container = { ...spec.task.container, registryAuth: next };
  return { ...spec, task: { ...spec.task, container } };
}

/** Each once, also when a thousand services have it. */
function heldLogins(services: readonly Service[]): readonly HeldLogin[] {
  const held = new Map<string, HeldLogin>();
  for (const spec of services.flatMap(specsOf)) {
    const login = loginOf(spec);
    if (login) held.set(login.key, login);
  }
  return [...held.values()];
}

/** null = none, or none that can be renewed */
function loginOf({ task }: ServiceSpec): HeldLogin | null {
  const { image, registryAuth } = task.container;
  const identityToken = registryAuth === null ? null : identityTokenOf(registryAuth);
  if (identityToken === null) return null;
  const domain = domainOf(image);
  return { key: keyOf(domain, identityToken), domain, identityToken };
}

const keyOf = (domain: string, identityToken: string): string => `${domain} ${identityToken}`;

/** What cannot be read is of no use to any node either; they say so. */
function identityTokenOf(registryAuth: string): string | null {
  let login: Login | null = null;
  try {
    login = parseRegistryAuth(registryAuth);
  } catch {
    return null;
  }
  return login?.identityToken ?? null;
}

function domainOf(image: string): string {
  return parseImageReference(image).domain; // checked when the service was written
}

/** When a token is to be renewed, wall clock. One that is a JWT says when it ends. */
function renewalMs(identityToken: string, nowMs: number): number {
  const life = lifeOf(identityToken);
  if (life === null) return nowMs + OPAQUE_PERIOD_MS;
  const beginMs = life.beginMs ?? nowMs;
  return beginMs + (life.endMs - beginMs) * RENEW_AT;
}

function lifeOf(token: string): { beginMs: number | null; endMs: number } | null {
  const [, body, signature] = token.split('.');
  if (body === undefined || signature === undefined) return null;
  try {
    const { iat, exp } = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as {
      iat?: unknown;
      exp?: unknown;
    };
    if (typeof exp !== 'number') return null;
    return { beginMs: typeof iat === 'number' ? iat * 1000 : null, endMs: exp * 1000 };
  } catch {
    return null;
  }
}
