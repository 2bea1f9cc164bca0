/**
 * Registers in the cluster's state: a config object for each key, its value in a label. A write that
 * carries the version that was read is the compare-and-swap; creation and removal go from and to
 * nothing. One instance speaks to one manager.
 */
import { ApiError, hasStatus, Transport } from '../../cli/client/transport.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Value } from '../support/linearizability/history.ts';

const LABEL = 'value';

/** What a read found: null = there is no such object. */
export interface Found {
  readonly version: number;
  readonly value: Value;
}

interface ConfigJson {
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Name: string; readonly Labels: Readonly<Record<string, string>> };
}

export class Registers {
  readonly #http: Transport;

  constructor(socket: string) {
    this.#http = new Transport(`unix://${socket}`);
  }

  close(): void {
    this.#http.close();
  }

  async read(key: string, signal: AbortSignal): Promise<Found | null> {
    try {
      return found(await this.#http.call<ConfigJson>('GET', `/configs/${key}`, { signal }));
    } catch (err) {
      if (hasStatus(err, 404)) return null;
      throw err;
    }
  }

  async readAll(signal: AbortSignal): Promise<Map<string, Found>> {
    const configs = await this.#http.call<ConfigJson[]>('GET', '/configs', { signal });
    return new Map(configs.map((config) => [config.Spec.Name, found(config)]));
  }

  async create(key: string, value: string, signal: AbortSignal): Promise<void> {
    const body = { Name: key, Labels: { [LABEL]: value }, Data: 'eA==' };
    await this.#http.call('POST', '/configs/create', { body, signal });
  }

  async update(key: string, version: number, value: string, signal: AbortSignal): Promise<void> {
    const body = { Name: key, Labels: { [LABEL]: value } };
    await this.#http.call('POST', `/configs/${key}/update`, { body, query: { version }, signal });
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    await this.#http.call('DELETE', `/configs/${key}`, { signal });
  }
}

function found(config: ConfigJson): Found {
  return { version: config.Version.Index, value: config.Spec.Labels[LABEL] ?? null };
}

/**
 * What a failed write tells:
 * - `conflict`: refused because of the state that the leader saw, so certainly without effect;
 * - `refused`: never came to a leader, so certainly without effect;
 * - `unknown`: all the rest, and whatever is not known here by its words.
 */
export type WriteFailure = 'conflict' | 'refused' | 'unknown';

/** The words with which a manager says that nothing was done. */
const REFUSALS = [/^This node is not a swarm manager/, /^the swarm does not have a leader/];

export function classifyWriteFailure(err: unknown): WriteFailure {
  if (err instanceof ApiError) {
    if (err.status === 500 && err.message.endsWith('update out of sequence')) return 'conflict';
    if (err.status === 404 || err.status === 409) return 'conflict';
    return REFUSALS.some((words) => words.test(err.message)) ? 'refused' : 'unknown';
  }
  const isUnsent = err instanceof SkepError && err.message.startsWith('Cannot connect');
  return isUnsent ? 'refused' : 'unknown';
}
