/**
 * Commands against a whole control plane in this process: the real routes over the real control API, with
 * allocator, orchestrator and scheduler, and agents that obey. Waiting makes its time pass.
 */
import { EngineClient } from '../../cli/client/engine-client.ts';
import type { CallOptions, Transport } from '../../cli/client/transport.ts';
import { ApiError } from '../../cli/client/transport.ts';
import type { Configure } from '../../cli/commands/context.ts';
import type { Clock } from '../../common/base/clock.ts';
import { CODE_STATUS, describeError, SkepError } from '../../common/base/errors.ts';
import type { Service } from '../../common/model/service.ts';
import type { RequestContext } from '../../daemon/engineapi/http-context.ts';
import type { Handler, Routes } from '../../daemon/engineapi/server.ts';
import { type CommandResult, type CommandWorld, runCommand } from './cli-command.ts';
import { makeControlApi } from './control-api.ts';
import { ControlRooms } from './control-rooms.ts';
import { addControlRoutes } from './control-routes.ts';

interface Route {
  readonly method: string;
  readonly parts: readonly string[];
  readonly handler: Handler;
}

/** Time of a command takes the cluster along, in steps that timers of seconds do not mind. */
const STEP_MS = 250;

export class StackWorld {
  readonly rooms: ControlRooms;
  readonly #routes: readonly Route[];
  /** method and path of every call that changes something */
  readonly writes: string[] = [];
  /** runs before each call; for what happens in between */
  /** What each call had in its X-Registry-Auth, in order; calls without are left out. */
  readonly registryAuths: (readonly [path: string, auth: string])[] = [];
  beforeCall: (method: string, path: string) => Promise<void> = async () => {};
  /** what the registry says of an image's name, null = it does not answer */
  registry: (image: string) => object | null = () => null;
  /** what a task's log says */
  logOf: (taskId: string) => string = () => '';

  private constructor(rooms: ControlRooms, routes: readonly Route[]) {
    this.rooms = rooms;
    this.#routes = routes;
  }

  static async start(nodes = 3): Promise<StackWorld> {
    const rooms = await ControlRooms.start(nodes);
    const { api } = await makeControlApi(rooms.test);
    const added: Route[] = [];
    const routes: Routes = {
      add: (method, path, handler) => {
        added.push({ method, parts: path.split('/'), handler });
      },
    };
    const { store, random } = rooms.test;
    addControlRoutes(routes, { control: api, store, random }, 'manager-1');
    return new StackWorld(rooms, added);
  }

  stop(): Promise<void> {
    return this.rooms.stop();
  }

  run(
    configure: Configure,
    argv: readonly string[],
    world: Omit<CommandWorld, 'engine'> = {},
  ): Promise<CommandResult> {
    const transport = {
      host: 'unix:///nowhere',
      call: (method: string, path: string, options: CallOptions = {}) =>
        this.call(method, path, options),
      stream: async (_: string, path: string) => {
        // Its commands look again and again: time passes for them alone.
        if (path === '/skep/watch') throw new ApiError(404, 'page not found');
        return this.#log(path);
      },
    } as unknown as Transport;
    const engine = new EngineClient('unix:///nowhere', undefined, null, transport);
    return runCommand(configure, argv, { ...world, engine, clock: this.#clock() });
  }

  service(name: string): Service {
    const [found] = this.rooms.test.store.view((view) => view.byName('service', name));
    if (!found) throw new Error(`no service ${name}`);
    return found;
  }

  /** Names of objects of a kind. */
  names(kind: 'service' | 'secret' | 'config' | 'network'): string[] {
    return this.rooms.test.store
      .view((view) => view.list(kind).map(({ spec }) => spec.name))
      .filter((name) => name !== 'ingress')
      .sort();
  }

  async call(
    method: string,
    path: string,
    { query = {}, body, headers = {} }: CallOptions,
  ): Promise<unknown> {
    const auth = headers['X-Registry-Auth'];
    if (auth !== undefined) this.registryAuths.push([path, auth]);
    await this.beforeCall(method, path);
    if (path.startsWith('/distribution/')) {
      const known = this.registry(
        decodeURIComponent(path.slice('/distribution/'.length, -'/json'.length)),
      );
      if (known === null) throw new ApiError(503, 'no answer');
      return known;
    }
    if (method !== 'GET' && !path.endsWith('/plan')) this.writes.push(`${method} ${path}`);
    const params = new Map<string, string>();
    const route = this.#routes.find(
      (candidate) => candidate.method === method && matches(candidate.parts, path, params),
    );
    if (!route) throw new Error(`no route for ${method} ${path}`);
    let answer: unknown;
    const text = (name: string): string | null => {
      const value = query[name];
      return value === undefined ? null : String(value);
    };
    const context = {
      text,
      flag: (name: string) => ['1', 'true'].includes(text(name) ?? ''),
      integer: (name: string) => Number(text(name)),
      param: (name: string) => params.get(name) ?? '',
      json: async () => JSON.parse(JSON.stringify(body ?? {})) as unknown,
      request: { headers: {}, url: `${path}?${JSON.stringify(query)}` },
      signal: new AbortController().signal,
      apiMinor: 50,
      send: (_: number, value: unknown) => {
        answer = JSON.parse(JSON.stringify(value));
      },
      sendText: (_: number, json: string) => {
        answer = JSON.parse(json);
      },
      sendBytes: (_: number, json: Buffer) => {
        answer = JSON.parse(json.toString());
      },
      empty: () => {},
    };
    try {
      await route.handler(context as unknown as RequestContext);
    } catch (err) {
      if (!(err instanceof SkepError)) throw err;
      throw new ApiError(CODE_STATUS[err.code].http, describeError(err));
    }
    return answer;
  }

  #clock(): Clock {
    const { clock } = this.rooms.test;
    return {
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
      setPeriodic: (periodMs, callback) => clock.setPeriodic(periodMs, callback),
      sleep: async (delayMs, signal) => {
        signal?.throwIfAborted();
        await this.rooms.pass(delayMs, STEP_MS);
        signal?.throwIfAborted();
      },
    };
  }

  /** One frame of standard output. */
  *#log(path: string): Iterable<Buffer> {
    const text = Buffer.from(this.logOf(path.split('/')[2] ?? ''));
    const head = Buffer.alloc(8);
    head[0] = 1;
    head.writeUInt32BE(text.length, 4);
    yield Buffer.concat([head, text]);
  }
}

function matches(parts: readonly string[], path: string, params: Map<string, string>): boolean {
  const given = path.split('/');
  if (given.length !== parts.length) return false;
  return parts.every((part, at) => {
    if (!part.startsWith(':')) return part === given[at];
    params.set(part.slice(1), decodeURIComponent(given[at]!));
    return true;
  });
}
