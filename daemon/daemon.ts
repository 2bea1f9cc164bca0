/** Composes the process: a worker always, the cluster membership, and the Engine API on its socket. */

import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { SkepError } from '../common/base/errors.ts';
import { type OnFailure, Scope } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import { tlsInfoOf } from '../common/pki/identity.ts';
import { clusterReads } from '../common/rpc/node-methods.ts';
import type { Disk } from '../manager/raftnode/disk.ts';
import { describeNode } from '../worker/node-facts.ts';
import { Worker } from '../worker/worker.ts';
import { listenAt, type PassedSocket } from './api-listeners.ts';
import { ContainerApiServer } from './container-api-server.ts';
import { EventJournal } from './engineapi/event-journal.ts';
import { Execs } from './engineapi/execs.ts';
import type { RouteParts } from './engineapi/parts.ts';
import { withPredefinedId } from './engineapi/predefined-networks.ts';
import { addRoutes, addRoutesForManagers, addRoutesForWorkers } from './engineapi/routes.ts';
import { API_VERSION_MAX, EngineServer } from './engineapi/server.ts';
import type { DaemonOptions } from './options.ts';
import { userNamespaces } from './subordinate-ids.ts';
import { SwarmNode } from './swarm-node.ts';
import { VERSION } from './version.ts';

export interface DaemonParts {
  readonly options: DaemonOptions;
  /** Sockets that the process was started with. */
  readonly passed: readonly PassedSocket[];
  /** Where managers keep their log. */
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #scope = new Scope();
  readonly #events: EventJournal;
  #engineId = '';

  constructor(parts: DaemonParts) {
    this.#parts = parts;
    this.#events = new EventJournal(parts.clock);
  }

  /** The API answers when this resolves. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (err) {
      await this.#scope.close();
      throw err;
    }
  }

  /** Tasks go on running. */
  stop(): Promise<void> {
    return this.#scope.close();
  }

  async #start(): Promise<void> {
    const { options, disk, clock, random, log, onFailure } = this.#parts;
    await mkdir(options.dataDir, { recursive: true, mode: 0o711 });
    // Before anything is looked at: two daemons would both take the tasks here for their own.
    const lock = await disk.lock(options.dataDir);
    this.#scope.defer(() => lock.release());
    this.#engineId = await this.#loadEngineId();
    const worker = await this.#scope.start(
      new Worker({
        dataDir: options.dataDir,
        cgroupParent: options.cgroupParent,
        registries: options.registries,
        imageWatermarks: options.imageWatermarks,
        settings: {
          userNamespaces: await userNamespaces(options.usernsRemap),
          runtimes: options.runtimes,
          forbidden: options.forbidden,
          logDriver: options.logDriver,
          logSource: () => ({
            hostname: options.hostname,
            pid: process.pid,
            nowMs: clock.wallMs(),
          }),
        },
        upstreamNameservers,
        hostname: () => options.hostname,
        clock,
        random,
        log,
        onFailure,
        tell: (event) => this.#events.tell(withPredefinedId(this.#engineId, event)),
      }),
    );
    const execs = new Execs(random);
    const forManagers = this.#engineServer();
    this.#scope.defer(() => forManagers.stop());
    addRoutesForManagers(forManagers, {
      ...{ worker, clock, execs, events: this.#events, engineId: this.#engineId },
      logDriver: options.logDriver,
    });
    const containerApi = new ContainerApiServer({ accept: (c) => forManagers.accept(c) });
    const forWorkers = this.#engineServer();
    this.#scope.defer(() => forWorkers.stop());
    const reads = new ContainerApiServer({
      method: clusterReads,
      accept: (c) => forWorkers.accept(c),
    });
    const swarm = new SwarmNode({
      dataDir: options.dataDir,
      hostname: options.hostname,
      listenAddress: options.listenAddress,
      advertiseAddress: options.advertiseAddress,
      worker,
      describe: (address, identity) =>
        describeNode({
          hostname: options.hostname,
          address,
          engineVersion: VERSION,
          engineLabels: options.labels,
          generic: options.genericResources,
          tlsInfo: tlsInfoOf(identity),
        }),
      disk,
      clock,
      random,
      log,
      onFailure,
      register: (server) => {
        const releases = [containerApi, reads].map((api) => api.register(server));
        return () => {
          for (const release of releases) release();
        };
      },
      onClusterEvent: (event, timeMs) => this.#events.tellOfCluster(event, timeMs),
    });
    const parts = this.#routeParts(worker, swarm, execs);
    addRoutesForWorkers(forWorkers, parts);
    await this.#scope.start(swarm);
    // A locked manager's part in the cluster is only put off.
    if (swarm.state().local === 'inactive') worker.plain.resumeHeld();
    await this.#listen(parts);
    log.info({ hosts: options.hosts, version: VERSION }, 'daemon ready');
  }

  #engineServer(): EngineServer {
    return new EngineServer({
      clock: this.#parts.clock,
      log: this.#parts.log.child({ component: 'engineapi' }),
      headers: () => ({
        Server: `skep/${VERSION} (linux)`,
        'Api-Version': API_VERSION_MAX,
        'Docker-Experimental': 'false',
        Ostype: 'linux',
      }),
    });
  }

  #routeParts(worker: Worker, swarm: SwarmNode, execs: Execs): RouteParts {
    const { options, clock, random } = this.#parts;
    return {
      worker,
      swarm,
      engineId: this.#engineId,
      hostname: options.hostname,
      dataDir: options.dataDir,
      version: VERSION,
      labels: options.labels,
      logDriver: options.logDriver,
      runtimes: options.runtimes,
      isRemapped: options.usernsRemap !== '',
      registries: options.registries,
      readOnWorkers: options.apiReadOnWorkers,
      execOnWorkers: options.apiExecOnWorkers,
      clock,
      random,
      execs,
      events: this.#events,
    };
  }

  async #listen(parts: RouteParts): Promise<void> {
    const { options, passed, log } = this.#parts;
    const server = this.#engineServer();
    addRoutes(server, parts);
    this.#scope.defer(() => server.stop());
    const { group, socketMode } = options;
    for (const host of options.hosts) {
      this.#scope.defer(await listenAt(host, { server, group, socketMode, passed, log }));
    }
  }

  /** Identifies this engine over restarts, in or out of a cluster. */
  async #loadEngineId(): Promise<string> {
    const { options, random } = this.#parts;
    const path = join(options.dataDir, 'engine-id');
    try {
      return (await readFile(path, 'utf8')).trim();
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw new SkepError('data-loss', `read ${path}`, { cause: err });
      }
    }
    const hex = Buffer.from(random.bytes(16)).toString('hex');
    const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    await writeFile(path, `${id}\n`);
    return id;
  }
}

/** The host's resolvers, read anew each time: they change with the network. */
function upstreamNameservers(): readonly string[] {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8')
      .split('\n')
      .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
      .filter((address) => address !== undefined);
  } catch {
    return [];
  }
}
