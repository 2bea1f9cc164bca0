/** The calls of containers and of commands in them. Each container is of the node that answers, or of any other of its cluster. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import type {
  ContainerCreateJson,
  ContainerJson,
  ContainerSummaryJson,
} from '../../common/model/engine-json/container.ts';
import { ApiCalls, enc } from './api-calls.ts';
import { encodeFilters, type FilterMap } from './filter-query.ts';
import type { HijackedConnection, Query } from './transport.ts';

export interface ExecCreateJson {
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly Tty: boolean;
  /** rows and columns that the command's terminal begins with */
  readonly ConsoleSize?: readonly [number, number];
  readonly Cmd: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
  readonly Privileged?: boolean;
  readonly DetachKeys?: string;
}

/** What `docker stats` counts with; absent where the container does not run. */
export interface ContainerStatsJson {
  readonly name: string;
  readonly cpu_stats: {
    readonly cpu_usage?: { readonly total_usage?: number };
    readonly system_cpu_usage?: number;
    readonly online_cpus?: number;
  };
  readonly memory_stats: {
    readonly usage?: number;
    readonly limit?: number;
    readonly stats?: { readonly inactive_file?: number };
  };
  readonly pids_stats: { readonly current?: number };
  readonly networks?: Readonly<
    Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>
  >;
  readonly blkio_stats: {
    readonly io_service_bytes_recursive?:
      | readonly { readonly op: string; readonly value: number }[]
      | null;
  };
}

export interface ProcessTableJson {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** `mode` is Go's `os.FileMode`. */
export interface PathStatJson {
  readonly name: string;
  readonly size: number;
  readonly mode: number;
  readonly linkTarget: string;
}

const archivePath = (ref: string): string => `/containers/${enc(ref)}/archive`;

function statOf({ headers }: IncomingMessage): PathStatJson {
  const text = String(headers['x-docker-container-path-stat'] ?? '');
  return JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as PathStatJson;
}

export class ContainerCalls extends ApiCalls {
  containers(query: {
    readonly all?: boolean;
    readonly limit?: number;
    readonly size?: boolean;
    readonly filters?: FilterMap;
  }): Promise<readonly ContainerSummaryJson[]> {
    return this.get('/containers/json', {
      ...(query.all && { all: true }),
      ...(query.size && { size: true }),
      limit: query.limit,
      filters: encodeFilters(query.filters),
    });
  }

  container(ref: string, size = false): Promise<ContainerJson> {
    return this.get(`/containers/${enc(ref)}/json`, size ? { size } : {});
  }

  containerCreate(
    name: string | undefined,
    request: ContainerCreateJson,
  ): Promise<{ readonly Id: string; readonly Warnings?: readonly string[] | null }> {
    return this.post('/containers/create', { name }, request);
  }

  /** `start`, `stop`, `pause`, ... */
  async containerDo(ref: string, verb: string, query: Query = {}): Promise<void> {
    await this.post(`/containers/${enc(ref)}/${verb}`, query);
  }

  containerRemove(ref: string, query: { force?: boolean; v?: boolean }): Promise<void> {
    return this.delete(`/containers/${enc(ref)}`, query);
  }

  containersPrune(filters?: FilterMap): Promise<{
    readonly ContainersDeleted?: readonly string[] | null;
  }> {
    return this.post('/containers/prune', { filters: encodeFilters(filters) });
  }

  /** Resolves when the daemon waits; what it resolves with tells the exit code, once there is one. */
  async containerWait(
    ref: string,
    condition: 'not-running' | 'next-exit' | 'removed',
  ): Promise<() => Promise<number>> {
    const path = `/containers/${enc(ref)}/wait`;
    const body = await this.http.stream('POST', path, { query: { condition } });
    return async () => {
      let text = '';
      body.setEncoding('utf8');
      for await (const chunk of body as AsyncIterable<string>) text += chunk;
      if (text === '') {
        throw new SkepError('unavailable', `wait for ${ref}: the connection broke before it ended`);
      }
      return (JSON.parse(text) as { readonly StatusCode: number }).StatusCode;
    };
  }

  /** @param detachKeys that the daemon is to know too, or it looks for its own */
  containerAttach(ref: string, stdin: boolean, detachKeys = ''): Promise<HijackedConnection> {
    const keys = detachKeys === '' ? '' : `&detachKeys=${encodeURIComponent(detachKeys)}`;
    const streams = `stream=1&stdout=1&stderr=1${stdin ? '&stdin=1' : ''}${keys}`;
    return this.http.hijack(`/containers/${enc(ref)}/attach?${streams}`, {});
  }

  async containerResize(ref: string, rows: number, columns: number): Promise<void> {
    await this.post(`/containers/${enc(ref)}/resize`, { h: rows, w: columns });
  }

  async containerUpdate(
    ref: string,
    change: Readonly<Record<string, unknown>>,
  ): Promise<readonly string[]> {
    const path = `/containers/${enc(ref)}/update`;
    const { Warnings } = await this.post<{ readonly Warnings?: readonly string[] | null }>(
      path,
      {},
      change,
    );
    return Warnings ?? [];
  }

  /** An image from what a container changed. @param query of the commit: `repo`, `tag`, `comment`, ... */
  containerCommit(ref: string, query: Query): Promise<{ readonly Id: string }> {
    return this.post('/commit', { container: ref, ...query }, {});
  }

  // ---- usage

  /** One sample, taken at once. */
  containerStats(ref: string): Promise<ContainerStatsJson> {
    return this.get(`/containers/${enc(ref)}/stats`, { stream: false, 'one-shot': true });
  }

  /** @param psArguments as those of `ps`; empty = its own */
  containerTop(ref: string, psArguments: string): Promise<ProcessTableJson> {
    const query = psArguments === '' ? {} : { ps_args: psArguments };
    return this.get(`/containers/${enc(ref)}/top`, query);
  }

  // ---- files

  /** Paths that differ from the image. */
  async containerChanges(
    ref: string,
  ): Promise<readonly { readonly Path: string; readonly Kind: number }[]> {
    return (await this.get(`/containers/${enc(ref)}/changes`)) ?? [];
  }

  /** Its whole file system as a tar. */
  containerExport(ref: string): Promise<IncomingMessage> {
    return this.http.stream('GET', `/containers/${enc(ref)}/export`);
  }

  async pathStat(ref: string, path: string): Promise<PathStatJson> {
    const response = await this.http.stream('HEAD', archivePath(ref), { query: { path } });
    response.resume();
    return statOf(response);
  }

  /** A tar of it, which begins with the last part of its path. */
  archiveGet(ref: string, path: string): Promise<IncomingMessage> {
    return this.http.stream('GET', archivePath(ref), { query: { path } });
  }

  /** Unpacks a tar into a folder that is there. */
  async archivePut(ref: string, path: string, tar: Readable, copyOwners: boolean): Promise<void> {
    const query = { path, noOverwriteDirNonDir: true, ...(copyOwners && { copyUIDGID: true }) };
    await this.http.call('PUT', archivePath(ref), { query, body: tar });
  }

  // ---- commands in containers

  execCreate(ref: string, request: ExecCreateJson): Promise<{ readonly Id: string }> {
    return this.post(`/containers/${enc(ref)}/exec`, {}, request);
  }

  execAttach(id: string, tty: boolean): Promise<HijackedConnection> {
    return this.http.hijack(`/exec/${enc(id)}/start`, { Detach: false, Tty: tty });
  }

  async execDetached(id: string, tty: boolean): Promise<void> {
    await this.post(`/exec/${enc(id)}/start`, {}, { Detach: true, Tty: tty });
  }

  async execResize(id: string, rows: number, columns: number): Promise<void> {
    await this.post(`/exec/${enc(id)}/resize`, { h: rows, w: columns });
  }

  execInspect(
    id: string,
  ): Promise<{ readonly ExitCode: number | null; readonly Running: boolean }> {
    return this.get(`/exec/${enc(id)}/json`);
  }
}
