/** The output of tasks: what a machine tells of it, and users who read slowly what a manager gathers. */
import { SkepError } from '../../../common/base/errors.ts';
import { CancelledError } from '../../../common/base/lifecycle.ts';
import type { SeededRandom } from '../../../common/base/random.ts';
import type { ServiceId } from '../../../common/model/ids.ts';
import { readTaskLogs } from '../../../common/rpc/node-methods.ts';
import { WORLD } from '../clock.ts';
import type { Containers } from './containers.ts';
import type { Host } from './host.ts';
import type { HostClock } from './host-clock.ts';
import type { SimRpcServer } from './rpc-server.ts';
import type { ClusterWorld } from './world.ts';

const LINES = 5;
const LINES_PERIOD_MS = 50;
const EVERYTHING = {
  tail: 'all',
  sinceNanos: null,
  untilNanos: null,
  stdout: true,
  stderr: true,
} as const;
/** Of a reader: for each record; as long as it reads; until the next one comes. */
const READER = { recordMs: 30, totalMs: 4_000, pauseMs: 3_000 };

/** Every task writes without end. */
export function serveLogs(server: SimRpcServer, containers: Containers, clock: HostClock): void {
  server.handleServerStream(readTaskLogs, async ({ taskId, follow }, stream, { signal }) => {
    let timeNanos = 0n;
    while (containers.all.get(taskId)?.state === 'running') {
      for (let line = 0; line < LINES; line++) {
        const data = Buffer.from(`line ${timeNanos}\n`);
        await stream.send({ timeNanos: timeNanos++, stream: 'stdout', data }, signal);
      }
      if (!follow) return;
      await clock.sleep(LINES_PERIOD_MS, signal);
    }
  });
}

export class LogReaders {
  readonly #world: ClusterWorld;
  readonly #random: SeededRandom;
  #stopped = false;

  constructor(world: ClusterWorld) {
    this.#world = world;
    this.#random = world.fork();
  }

  start(): void {
    const { plan, clock } = this.#world;
    if (!plan.hasLogReaders) return;
    clock.schedule(READER.pauseMs, WORLD, 'client', () => {
      if (this.#stopped) return;
      this.#begin();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #begin(): void {
    const world = this.#world;
    const managers = world.managers().filter(({ isUp }) => isUp);
    const services = world.view((view) => view.list('service'));
    const host = managers[this.#random.below(Math.max(1, managers.length))];
    const service = services[this.#random.below(Math.max(1, services.length))];
    if (host === undefined || service === undefined) return;
    world.count('log.readers');
    host.whenAwake(() => void this.#read(host, service.id));
  }

  async #read(host: Host, serviceId: ServiceId): Promise<void> {
    const { daemon } = host;
    if (!daemon?.manager) return;
    const gone = new AbortController();
    const reason = new CancelledError();
    this.#world.clock.schedule(READER.totalMs, host.id, 'client', () => gone.abort(reason));
    try {
      const { logs } = daemon.manager;
      const query = { ...EVERYTHING, follow: true };
      for await (const _ of logs.read({ kind: 'service', serviceId }, query, gone.signal)) {
        await daemon.clock.sleep(READER.recordMs, gone.signal);
        this.#world.count('log.records');
      }
    } catch (err) {
      const isUsual = err === reason || (err instanceof SkepError && err.code !== 'internal');
      if (!isUsual) this.#world.surprise(err);
    }
  }
}
