/** Random requests to the Engine API: every route that there is, with parameters, queries and bodies that are nearly right, or not at all. */
import { silentLogger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { addRoutes } from '../../daemon/engineapi/routes.ts';
import { EngineServer, type Method, type Routes } from '../../daemon/engineapi/server.ts';
import type { ApiAnswer } from './api-answers.ts';
import { FakeClock } from './fake-clock.ts';

export interface ApiRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

/** What would end the cluster under test, or the run: refused, it proves nothing more. */
const LEFT_OUT = new Set(['POST /swarm/leave', 'POST /swarm/join', 'POST /swarm/unlock']);

/** Each route with its handler's path, as the server has them. */
export function allRoutes(): readonly (readonly [Method, string])[] {
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

const WORDS = [
  ...['', '0', '1', '-1', 'true', 'false', 'all', 'null', '1e99', '9223372036854775808', '0.5'],
  ...[
    'web',
    'box',
    'box:latest',
    'manager-1',
    'self',
    'nobody',
    'a/b',
    'UPPER',
    '.',
    '..',
    '../..',
  ],
  ...['%00', '%2e%2e%2f', '%ff', '%', '\u{1f41d}', 'x'.repeat(300), "'", '"', '{}', '[]', '\\'],
  ...['key', 'conf', 'net', 'vol'], // of the bodies below
  ...['docker.io/library/box', 'sha256:00', 'sha256:zz', '127.0.0.1:1/x:y@z', 'bridge', 'ingress'],
];
const QUERIES = [
  ...[
    'all',
    'limit',
    'filters',
    'size',
    'since',
    'until',
    'tail',
    'stdout',
    'stderr',
    'follow',
    'stream',
  ],
  ...[
    'version',
    'force',
    'name',
    'path',
    'signal',
    't',
    'h',
    'w',
    'condition',
    'fromImage',
    'fromSrc',
  ],
  ...['tag', 'repo', 'names', 'status', 'insertDefaults', 'rollback', 'registryAuthFrom', 'scope'],
  ...[
    'verbose',
    'from',
    'previous',
    'repair',
    'rotateWorkerToken',
    'ps_args',
    'noprune',
    'v',
    'logs',
  ],
  ...['noOverwriteDirNonDir', 'container', 'platform', 'details', 'timestamps', 'one-shot', 'q'],
];
const FIELDS = [
  ...[
    'Name',
    'Image',
    'Cmd',
    'Labels',
    'Spec',
    'Mode',
    'TaskTemplate',
    'ContainerSpec',
    'Env',
    'Data',
  ],
  ...[
    'HostConfig',
    'Mounts',
    'Binds',
    'PortBindings',
    'Driver',
    'IPAM',
    'Config',
    'Subnet',
    'Replicas',
  ],
  ...['Replicated', 'Global', 'EndpointSpec', 'Ports', 'TargetPort', 'UpdateConfig', 'Parallelism'],
  ...[
    'Resources',
    'Limits',
    'MemoryBytes',
    'NanoCPUs',
    'Placement',
    'Constraints',
    'Role',
    'Memory',
  ],
  ...[
    'Availability',
    'Orchestration',
    'Raft',
    'CAConfig',
    'Secrets',
    'Configs',
    'Networks',
    'Target',
  ],
  ...[
    'Detach',
    'Tty',
    'AttachStdin',
    'User',
    'WorkingDir',
    'RestartPolicy',
    'NetworkMode',
    'Ulimits',
  ],
  ...[
    'ListenAddr',
    'AdvertiseAddr',
    'Services',
    'username',
    'password',
    'serveraddress',
    'Healthcheck',
  ],
  ...[
    'Isolation',
    'Privileges',
    'Sysctls',
    'Hosts',
    'StopGracePeriod',
    'Delay',
    'Condition',
    'File',
  ],
];
const VERSIONS = [
  '',
  '/v1.24',
  '/v1.40',
  '/v1.41',
  '/v1.44',
  '/v1.50',
  '/v1.51',
  '/v2.0',
  '/v1',
  '/v1.x',
];

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
    NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: ['x'] } } },
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
/** Without which there is nothing to meet: asked for more often than the others. */
const FERTILE = [
  ...Object.keys(WHOLE).filter((route) => route.endsWith('/create')),
  ...['POST /containers/:id/start', 'POST /containers/:id/exec', 'POST /exec/:id/start'],
];
const FERTILE_SHARE = 0.2;
/** Of the ids in paths, those that answers told of. */
const KNOWN_SHARE = 0.7;
/** Of a kind, the newest: older ones are gone, or were met often enough. */
const KNOWN_MAX = 12;

/**
 * Makes requests by chance, most of them for objects that answers told of. Generators of one seed make the same ones where they
 * learn the same.
 */
export class ApiRequests {
  readonly #routes = allRoutes();
  readonly #fertile = this.#routes.filter((route) => FERTILE.includes(route.join(' ')));
  readonly #random: Random;
  /** kind of object, the first word of its routes -> ids and names of what there is, newest last */
  readonly #known = new Map<string, string[]>();

  constructor(random: Random) {
    this.#random = random;
  }

  request(): ApiRequest {
    const isFertile = this.#chance(FERTILE_SHARE);
    const [method, template] = this.#one(isFertile ? this.#fertile : this.#routes);
    const kind = /^(?:\/skep)?\/(\w+)/.exec(template)?.[1] ?? '';
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
      headers: this.#headers(TAKES_OVER.test(template) ? 0.5 : 0.1),
      body,
    };
  }

  /** Takes up of which objects an answer tells: what was made, and what is listed. */
  learn({ method, path }: ApiRequest, answer: ApiAnswer): void {
    if (answer.kind !== 'answer' || !answer.isJson) return;
    const [, kind = '', verb = ''] =
      /^(?:\/v1\.\d+)?\/(\w+)(?:\/[^/?]+)*?(?:\/(json|create|exec))?(?:\?|$)/.exec(path) ?? [];
    const made = method === 'POST' && answer.status === 201;
    const isList = method === 'GET' && answer.status === 200;
    if (!made && !isList) return;
    const body: unknown = JSON.parse(answer.text);
    for (const row of made ? [body] : Array.isArray(body) ? body : []) {
      const { ID, Id, Name } = (row ?? {}) as Readonly<Record<string, unknown>>;
      const name = ID ?? Id ?? Name;
      if (typeof name === 'string') this.#know(verb === 'exec' ? 'exec' : kind, name);
    }
  }

  #know(kind: string, name: string): void {
    const before = (this.#known.get(kind) ?? []).filter((it) => it !== name);
    this.#known.set(kind, [...before, name].slice(-KNOWN_MAX));
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
