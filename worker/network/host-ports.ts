/**
 * Host-mode published ports of this node's tasks: chooses numbers, keeps them over restarts of the
 * daemon. Knows nothing of rules.
 */
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import { NativeError } from '../../native/ffi/library.ts';
import { bindInNetns, closeFd, OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { portHolder } from './port-holder.ts';

/** The range that Linux gives to outgoing connections, minus what the routing mesh hands out. */
const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_LAST = 60_999;
const ATTEMPTS = 64;

export interface HostPortsOptions {
  /** one file per task with host-mode ports */
  readonly dir: string;
  readonly random: Random;
  /** who has the port already, among us; null = nobody */
  readonly holder: (port: PortConfig) => string | null;
}

export class HostPorts {
  readonly #options: HostPortsOptions;
  readonly #files = new NodeSmallFiles();

  constructor(options: HostPortsOptions) {
    this.#options = options;
  }

  /** Fills in ports that are 0. Throws `conflict` when one is taken. What the task was given before it keeps. */
  async allocate(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    if (ports.length === 0) return ports;
    const kept = await this.#kept(taskId);
    if (kept) return kept;
    const bound: PortConfig[] = [];
    for (const port of ports) {
      bound.push(port.publishedPort === 0 ? await this.#choose(port) : await this.#claim(port));
    }
    await this.#files.replace(this.#fileOf(taskId), JSON.stringify(bound));
    return bound;
  }

  /** The ports that a running task was given; `asked` when nothing was kept. */
  async recall(taskId: TaskId, asked: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    if (asked.length === 0) return asked;
    const known = (await this.#kept(taskId)) ?? asked;
    return known.filter(({ publishedPort }) => publishedPort > 0);
  }

  async forget(taskId: TaskId): Promise<void> {
    await this.#files.remove(this.#fileOf(taskId));
  }

  async #kept(taskId: TaskId): Promise<readonly PortConfig[] | null> {
    const text = await this.#files.read(this.#fileOf(taskId));
    return text === null || text === '' ? null : (JSON.parse(text) as readonly PortConfig[]);
  }

  #fileOf(taskId: TaskId): string {
    return join(this.#options.dir, taskId);
  }

  async #claim(port: PortConfig): Promise<PortConfig> {
    const holder =
      this.#options.holder(port) ?? ((await portIsFree(port)) ? null : processAt(port));
    if (holder === null) return port;
    throw new SkepError(
      'conflict',
      `publish port ${port.publishedPort}/${port.protocol} on the host: it is in use by ${holder}`,
    );
  }

  async #choose(port: PortConfig): Promise<PortConfig> {
    for (let i = 0; i < ATTEMPTS; i++) {
      const number = EPHEMERAL_FIRST + this.#options.random.below(EPHEMERAL_LAST - EPHEMERAL_FIRST);
      const candidate = { ...port, publishedPort: number };
      if (this.#options.holder(candidate) === null && (await portIsFree(candidate))) {
        return candidate;
      }
    }
    throw new SkepError(
      'resource-exhausted',
      `publish port ${port.targetPort}/${port.protocol} on the host: no free port in ${ATTEMPTS} attempts`,
    );
  }
}

function processAt({ protocol, publishedPort }: PortConfig): string {
  return protocol === 'sctp' ? 'a process' : portHolder(protocol, publishedPort);
}

/** True when no process of this host listens on it. */
async function portIsFree(port: PortConfig): Promise<boolean> {
  if (port.protocol === 'sctp') return true; // nothing to ask: SCTP sockets need a module
  try {
    const address = port.hostIp || '0.0.0.0';
    closeFd(await bindInNetns(OWN_NAMESPACE, port.protocol, address, port.publishedPort));
    return true;
  } catch (err) {
    if (!(err instanceof NativeError)) throw err;
    if (err.errno === 'EADDRINUSE') return false;
    if (err.errno !== 'EADDRNOTAVAIL') throw err;
    const what = `publish port ${port.publishedPort}/${port.protocol} on the host`;
    const why = `this node has no address ${port.hostIp}`;
    throw new SkepError('failed-precondition', `${what}: ${why}`, { cause: err });
  }
}
