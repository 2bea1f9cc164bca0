/** Random requests to the Engine API: every route that there is, with parameters, queries and bodies that are nearly right, or not at all. */
import { silentLogger } from '../../common/base/log.ts';
import { addRoutes } from '../../daemon/engineapi/routes.ts';
import { EngineServer, type Method, type Routes } from '../../daemon/engineapi/server.ts';
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

/** Makes requests by chance; the same `next` makes the same ones. */
export class ApiRequests {
  readonly #routes = allRoutes();
  readonly #next: () => number;

  /** @param next 0 <= value < 1 */
  constructor(next: () => number) {
    this.#next = next;
  }

  request(): ApiRequest {
    const [method, template] = this.#one(this.#routes);
    const path = template.replace(/:\w+|\*/g, () => this.#segment());
    const query = this.#query();
    const body = method === 'POST' || method === 'PUT' ? this.#body() : null;
    return {
      method: this.#chance(0.03)
        ? this.#one(['GET', 'POST', 'DELETE', 'HEAD', 'PUT'] as const)
        : method,
      path: `${this.#chance(0.8) ? '/v1.50' : this.#one(VERSIONS)}${path}${query}`,
      headers: this.#headers(),
      body,
    };
  }

  #segment(): string {
    const word = this.#one(WORDS);
    return this.#chance(0.7) ? encodeURIComponent(word) : word.replace(/[^\x21-\x7e]/gu, '%f0');
  }

  #query(): string {
    const pairs = Array.from({ length: Math.floor(this.#next() * 4) }, () => {
      const name = this.#one(QUERIES);
      const value = name === 'filters' && this.#chance(0.7) ? this.#filters() : this.#one(WORDS);
      return `${name}=${this.#chance(0.9) ? encodeURIComponent(value) : value.replace(/[^\x21-\x7e]/gu, '')}`;
    });
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

  #headers(): Record<string, string> {
    const headers: Record<string, string> = { Host: 'engine' };
    if (this.#chance(0.9)) headers['Content-Type'] = 'application/json';
    if (this.#chance(0.05)) headers['X-Registry-Auth'] = this.#one(['e30=', '!', 'bm90IGpzb24=']);
    if (this.#chance(0.05)) headers['Last-Event-ID'] = this.#one(['1', 'x', '-1']);
    if (this.#chance(0.1)) Object.assign(headers, { Connection: 'Upgrade', Upgrade: 'tcp' });
    return headers;
  }

  #body(): string | null {
    if (this.#chance(0.1)) return this.#one([null, '', '{', 'null', '[]', '"x"', '1', '\0']);
    const text = JSON.stringify(this.#value(0));
    if (this.#chance(0.9)) return text;
    const at = Math.floor(this.#next() * text.length);
    return text.slice(0, at) + this.#one(['', ',', '}', '\u0000', '"']) + text.slice(at + 1);
  }

  #value(depth: number): unknown {
    if (depth > 0 && (depth > 4 || this.#chance(0.4))) {
      return this.#one<unknown>([...WORDS, 0, 1, -1, 2.5, 1e300, true, false, null, [], {}]);
    }
    if (depth > 0 && this.#chance(0.3)) {
      return Array.from({ length: Math.floor(this.#next() * 3) }, () => this.#value(depth + 1));
    }
    const count = Math.floor(this.#next() * 5);
    return Object.fromEntries(
      Array.from({ length: count }, () => [this.#one(FIELDS), this.#value(depth + 1)]),
    );
  }

  #chance(share: number): boolean {
    return this.#next() < share;
  }

  #one<T>(values: readonly T[]): T {
    return values[Math.floor(this.#next() * values.length)]!;
  }
}
