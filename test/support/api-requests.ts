/** Random requests to the Engine API: every route that there is, with parameters, queries and bodies that are nearly right, or not at all. */
import { silentLogger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { addRoutes } from '../../daemon/engineapi/routes.ts';
import { EngineServer, type Method, type Routes } from '../../daemon/engineapi/server.ts';
import type { ApiAnswer } from './api-answers.ts';
import { FIELDS, QUERIES, VERSIONS, WORDS } from './api-vocabulary.ts';
import { FakeClock } from './fake-clock.ts';

export interface ApiRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** what is sent on the connection when it was given up, and what becomes of it then; null = it is read for a while */
  readonly input: TakenInput | null;
}

interface TakenInput {
  readonly pieces: readonly Buffer[];
  readonly end: 'wait' | 'half-close' | 'leave';
}

/** A handler's path, as the server has it. */
type Route = readonly [Method, string];

/** What would end the cluster under test, or the run: refused, it proves nothing more. */
const LEFT_OUT = new Set(['POST /swarm/leave', 'POST /swarm/join', 'POST /swarm/unlock']);

/** Each route with its handler's path, as the server has them. */
export function allRoutes(): readonly Route[] {
  const found: (readonly [Method, string])[] = [];
  const server = new EngineServer({
    log: silentLogger,
    clock: new FakeClock(),
    headers: () => ({}),
  });
  const recorder: Routes = {
    add: (method, path, handler) => {
      found.push([method, path]);
      server.add(method, path, handler);
    },
  };
  const parts = { worker: {}, swarm: {} } as unknown as Parameters<typeof addRoutes>[1];
  addRoutes(recorder, parts);
  return found.filter(([method, path]) => !LEFT_OUT.has(`${method} ${path}`));
}

/** Whole bodies, as clients send them: what is done to one of them comes further than what is made of nothing. */
const WHOLE: Readonly<Record<string, object>> = {
  'POST /containers/create': {
    // A stop that may wait for ever does not: `sleep` takes no other signal.
    ...{ Image: 'box', Cmd: ['sleep', '1000'], StopSignal: 'SIGKILL', StopTimeout: 1 },
    ...{ Env: ['A=1'], Labels: { a: 'b' }, Tty: true },
    ...{ Hostname: 'h', User: '0', WorkingDir: '/', ExposedPorts: { '80/tcp': {} } },
    HostConfig: {
      ...{ NetworkMode: 'bridge', Memory: 16_777_216, NanoCpus: 1e8, AutoRemove: false },
      ...{ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 }, ConsoleSize: [24, 80] },
      PortBindings: { '80/tcp': [{ HostPort: '0' }] },
      Mounts: [{ Type: 'tmpfs', Target: '/t' }],
    },
    NetworkingConfig: { EndpointsConfig: { bridge: {} } },
  },
  'POST /services/create': {
    ...{ Name: 'web', Labels: { a: 'b' }, Mode: { Replicated: { Replicas: 1 } } },
    TaskTemplate: {
      ContainerSpec: { Image: 'box', Args: ['sleep', '100'], Env: ['A=1'], Mounts: [] },
      Resources: { Limits: { NanoCPUs: 1e8, MemoryBytes: 16_777_216 }, Reservations: {} },
      RestartPolicy: { Condition: 'none', Delay: 0, MaxAttempts: 0 },
      Placement: { Constraints: ['node.role==manager'], Preferences: [] },
      ...{ ForceUpdate: 0, Networks: [] },
    },
    UpdateConfig: { Parallelism: 1, FailureAction: 'pause', Monitor: 1, Order: 'start-first' },
    EndpointSpec: { Mode: 'vip', Ports: [{ Protocol: 'tcp', TargetPort: 80 }] },
  },
  'POST /networks/create': {
    ...{ Name: 'net', Driver: 'overlay', Attachable: true, Labels: {}, Options: {} },
    IPAM: { Driver: 'default', Config: [{ Subnet: '10.77.0.0/24', Gateway: '10.77.0.1' }] },
  },
  'POST /volumes/create': { Name: 'vol', Driver: 'local', DriverOpts: {}, Labels: { a: 'b' } },
  'POST /secrets/create': { Name: 'key', Data: 'eA==', Labels: {} },
  'POST /configs/create': { Name: 'conf', Data: 'eA==', Labels: {} },
  'POST /containers/:id/exec': { Cmd: ['true'], AttachStdout: true, Tty: true, Env: ['A=1'] },
  'POST /exec/:id/start': { Detach: false, Tty: false, ConsoleSize: [24, 80] },
  'POST /containers/:id/update': { Memory: 16_777_216, RestartPolicy: { Name: 'no' } },
  'POST /networks/:id/connect': { Container: 'web', EndpointConfig: { Aliases: ['x'] } },
  'POST /networks/:id/disconnect': { Container: 'web', Force: true },
  'POST /nodes/:id/update': { Role: 'manager', Availability: 'active', Labels: { a: 'b' } },
};

/** Below `/images/` and `/skep/images/` routes are told apart by their last word. */
const VERBS = ['json', 'history', 'get', 'tag', 'push', 'distribute'];
/** Where a connection may be taken over. */
const TAKES_OVER = /\/(attach|exec\/:id\/start)$/;
/** Of containers, those that run; few verbs do anything to others. */
const RUNNING = 'running';
/** Without which there is nothing to meet: asked for more often than the others. */
const FERTILE = [
  ...Object.keys(WHOLE).filter((route) => route.endsWith('/create')),
  ...['POST /containers/:id/exec', 'POST /exec/:id/start', 'POST /containers/:id/attach'],
  ...['POST /containers/:id/start', 'POST /exec/:id/start', 'GET /tasks'],
];
const FERTILE_SHARE = 0.2;
/** Requests as clients make them, on the way to a connection that is given up. */
const TAKE_OVER_SHARE = 0.1;
/** Of the ids in paths, those that answers told of. */
const KNOWN_SHARE = 0.7;
/** Of a kind, the newest: older ones are gone, or were met often enough. */
const KNOWN_MAX = 12;
const RUNNING_SHARE = 0.6;
/** Verbs after which a container runs no longer, mostly. */
const STOPS: ReadonlySet<string> = new Set(['kill', 'stop', 'pause']);

/**
 * Makes requests by chance, most of them for objects that answers told of. Generators of one seed make the same ones where they
 * learn the same.
 */
export class ApiRequests {
  readonly #routes: readonly Route[];
  /** each as often as it is asked for */
  readonly #fertile: readonly Route[];
  readonly #random: Random;
  /** kind of object, the first word of its routes -> ids and names of what there is, newest last */
  readonly #known = new Map<string, string[]>();

  /** @param leftOut routes that are not asked for: `POST /nodes/:id/update` */
  constructor(random: Random, leftOut: readonly string[] = []) {
    this.#random = random;
    this.#routes = allRoutes().filter((route) => !leftOut.includes(route.join(' ')));
    this.#fertile = FERTILE.flatMap((name) =>
      this.#routes.filter((route) => route.join(' ') === name),
    );
  }

  request(): ApiRequest {
    if (this.#chance(TAKE_OVER_SHARE)) return this.#towardsTakeOver();
    const isFertile = this.#chance(FERTILE_SHARE);
    const [method, template] = this.#one(isFertile ? this.#fertile : this.#routes);
    // The image that all containers are of is there for a while, mostly.
    const isSpared = method === 'DELETE' && template.startsWith('/images') && this.#chance(0.9);
    const kind = isSpared ? '' : this.#kindIn(template);
    const path = template
      .replace(/:\w+/g, () => this.#segment(kind))
      .replace('*', () => this.#segment(kind) + (this.#chance(0.7) ? `/${this.#one(VERBS)}` : ''));
    const query = this.#query(template.endsWith('/attach') ? ['stream=1', 'stdout=1'] : []);
    const body =
      method === 'POST' || method === 'PUT' ? this.#bodyOf(`${method} ${template}`) : null;
    return {
      method: this.#chance(0.03)
        ? this.#one(['GET', 'POST', 'DELETE', 'HEAD', 'PUT'] as const)
        : method,
      path: `${this.#chance(0.8) ? '/v1.50' : this.#one(VERSIONS)}${path}${query}`,
      headers: this.#headers(TAKES_OVER.test(template) ? 0.7 : 0.1),
      body,
      input: this.#chance(0.7) ? this.#input() : null,
    };
  }

  /** What leads to a connection that is given up: by way of a container that runs, and an exec in it. */
  #towardsTakeOver(): ApiRequest {
    const [exec, running, container] = ['exec', RUNNING, 'containers'].map((kind) =>
      this.#known.get(kind)?.at(-1),
    );
    const Tty = this.#chance(0.5);
    if (exec !== undefined) return this.#asked(`/exec/${exec}/start`, { Detach: false, Tty }, true);
    if (running !== undefined && this.#chance(0.5)) {
      const streams = 'stream=1&stdin=1&stdout=1&stderr=1';
      return this.#asked(`/containers/${running}/attach?${streams}`, {}, true);
    }
    if (running !== undefined) {
      const body = { Cmd: ['cat'], AttachStdin: true, AttachStdout: true, Tty };
      return this.#asked(`/containers/${running}/exec`, body);
    }
    if (container !== undefined) return this.#asked(`/containers/${container}/start`, {});
    return this.#asked('/containers/create', WHOLE['POST /containers/create']!);
  }

  #asked(path: string, body: object, takesOver = false): ApiRequest {
    const upgrade = { Connection: 'Upgrade', Upgrade: 'tcp' };
    const headers = { Host: 'engine', 'Content-Type': 'application/json' };
    return {
      ...{ method: 'POST', path, body: JSON.stringify(body) },
      headers: takesOver ? { ...headers, ...upgrade } : headers,
      input: takesOver && this.#chance(0.8) ? this.#input() : null,
    };
  }

  /** What was known is gone. */
  forget(): void {
    this.#known.clear();
  }

  /** Takes up of which objects an answer tells: what was made, what is listed, what was begun, and what is gone. */
  learn({ method, path }: ApiRequest, answer: ApiAnswer): void {
    const [, kind = '', id = '', verb = ''] =
      /^(?:\/v1\.\d+)?\/(\w+)(?:\/([^/?]+))?(?:\/(\w+))?(?:\?|$)/.exec(path) ?? [];
    // It is started once, in whatever way its client is told.
    if (kind === 'exec' && verb === 'start') this.#unlearn(['exec'], id);
    if (answer.kind !== 'answer') return;
    const { status } = answer;
    if (/^(?:re)?start$/.test(verb)) {
      if (status === 204) this.#know(RUNNING, id);
      else this.#unlearn([kind], id); // it runs already, or never will
    }
    if (STOPS.has(verb) || status === 409) this.#unlearn([RUNNING], id); // paused, or ended
    if (status === 404 || method === 'DELETE') this.#unlearn([kind, RUNNING], id);
    if (!answer.isJson) return;
    const made = method === 'POST' && status === 201;
    const isList = method === 'GET' && status === 200;
    if (!made && !isList) return;
    const body: unknown = JSON.parse(answer.text);
    for (const row of made ? [body] : Array.isArray(body) ? body : []) {
      const { ID, Id, Name, Status } = (row ?? {}) as Readonly<Record<string, unknown>>;
      const name = ID ?? Id ?? Name;
      if (typeof name !== 'string') continue;
      this.#know(verb === 'exec' ? 'exec' : kind, name);
      // A task's id is one of its container, whatever node has it.
      const isRunning = (Status as { State?: string } | undefined)?.State === 'running';
      if (kind === 'tasks' && isRunning) this.#know(RUNNING, name);
    }
  }

  #unlearn(kinds: readonly string[], name: string): void {
    for (const kind of kinds) {
      const known = this.#known.get(kind) ?? [];
      this.#known.set(
        kind,
        known.filter((it) => it !== name),
      );
    }
  }

  #know(kind: string, name: string): void {
    const before = (this.#known.get(kind) ?? []).filter((it) => it !== name);
    this.#known.set(kind, [...before, name].slice(-KNOWN_MAX));
  }

  /** Of the object that a route is about. */
  #kindIn(template: string): string {
    const [, kind = '', verb] = /^(?:\/skep)?\/(\w+)(?:\/:id\/(\w+))?/.exec(template) ?? [];
    const isOfRunning = kind === 'containers' && verb !== undefined && verb !== 'start';
    const { length } = this.#known.get(RUNNING) ?? [];
    return isOfRunning && length > 0 && this.#chance(RUNNING_SHARE) ? RUNNING : kind;
  }

  /** Bytes for what has the connection; it need not want any. */
  #input(): TakenInput {
    const pieces = Array.from({ length: Math.floor(this.#random.unit() * 4) }, () =>
      Buffer.from(this.#one([...WORDS, '\n', '\x10\x11', '\x04', '\x03', 'x'.repeat(100_000)])),
    );
    return { pieces, end: this.#one(['wait', 'half-close', 'leave'] as const) };
  }

  #segment(kind: string): string {
    const known = this.#known.get(kind) ?? [];
    if (known.length > 0 && this.#chance(KNOWN_SHARE)) return encodeURIComponent(this.#one(known));
    const word = this.#one(WORDS);
    return this.#chance(0.7) ? encodeURIComponent(word) : word.replace(/[^\x21-\x7e]/gu, '%f0');
  }

  /** @param usual what clients send in front of the rest, mostly */
  #query(usual: readonly string[]): string {
    const random = Array.from({ length: Math.floor(this.#random.unit() * 4) }, () => {
      const name = this.#one(QUERIES);
      const value = name === 'filters' && this.#chance(0.7) ? this.#filters() : this.#one(WORDS);
      return `${name}=${this.#chance(0.9) ? encodeURIComponent(value) : value.replace(/[^\x21-\x7e]/gu, '')}`;
    });
    const pairs = this.#chance(0.8) ? [...usual, ...random] : random;
    return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
  }

  #filters(): string {
    const names = [
      'id',
      'name',
      'label',
      'status',
      'type',
      'event',
      'until',
      'dangling',
      'service',
    ];
    const value = this.#one<unknown>([
      [this.#one(WORDS)],
      { [this.#one(WORDS)]: true },
      1,
      null,
      [[]],
    ]);
    return JSON.stringify({ [this.#one(names)]: value });
  }

  /** @param upgrades the share that asks for the connection */
  #headers(upgrades: number): Record<string, string> {
    const headers: Record<string, string> = { Host: 'engine' };
    if (this.#chance(0.9)) headers['Content-Type'] = 'application/json';
    if (this.#chance(0.05)) headers['X-Registry-Auth'] = this.#one(['e30=', '!', 'bm90IGpzb24=']);
    if (this.#chance(0.05)) headers['Last-Event-ID'] = this.#one(['1', 'x', '-1']);
    if (this.#chance(upgrades)) Object.assign(headers, { Connection: 'Upgrade', Upgrade: 'tcp' });
    return headers;
  }

  #bodyOf(route: string): string | null {
    const whole = this.#withKnown(WHOLE[route]);
    if (!whole || this.#chance(0.3)) return this.#body();
    return JSON.stringify(this.#chance(0.4) ? whole : this.#changed(whole));
  }

  /** For a container that there is, where one is named. */
  #withKnown(body: object | undefined): object | undefined {
    const known = this.#known.get('containers') ?? [];
    if (!body || !('Container' in body) || known.length === 0) return body;
    return { ...body, Container: this.#one(known) };
  }

  /** With one place of it gone, or another value there. */
  #changed(value: unknown): unknown {
    if (value === null || typeof value !== 'object' || this.#chance(0.1)) return this.#value(1);
    const entries = Object.entries(value);
    const at = this.#random.below(entries.length + 1); // behind the last: one more
    const changed =
      at === entries.length
        ? [...entries, [this.#one(FIELDS), this.#value(1)] as const]
        : entries.flatMap(([key, item], index) => {
            if (index !== at) return [[key, item] as const];
            return this.#chance(0.2) ? [] : [[key, this.#changed(item)] as const];
          });
    return Array.isArray(value) ? changed.map(([, item]) => item) : Object.fromEntries(changed);
  }

  #body(): string | null {
    if (this.#chance(0.1)) return this.#one([null, '', '{', 'null', '[]', '"x"', '1', '\0']);
    const text = JSON.stringify(this.#value(0));
    if (this.#chance(0.9)) return text;
    const at = Math.floor(this.#random.unit() * text.length);
    return text.slice(0, at) + this.#one(['', ',', '}', '\u0000', '"']) + text.slice(at + 1);
  }

  #value(depth: number): unknown {
    if (depth > 0 && (depth > 4 || this.#chance(0.4))) {
      return this.#one<unknown>([...WORDS, 0, 1, -1, 2.5, 1e300, true, false, null, [], {}]);
    }
    if (depth > 0 && this.#chance(0.3)) {
      return Array.from({ length: Math.floor(this.#random.unit() * 3) }, () =>
        this.#value(depth + 1),
      );
    }
    const count = Math.floor(this.#random.unit() * 5);
    return Object.fromEntries(
      Array.from({ length: count }, () => [this.#one(FIELDS), this.#value(depth + 1)]),
    );
  }

  #chance(share: number): boolean {
    return this.#random.unit() < share;
  }

  #one<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random.unit() * values.length)]!;
  }
}
