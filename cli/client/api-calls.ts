/** What the calls of every subject are made of. */
import type { Query, Transport } from './transport.ts';

/** One part of a path. */
export const enc = encodeURIComponent;

/** @param auth base64url JSON for the image's registry */
export const authHeader = (auth: string | undefined): { headers?: Record<string, string> } =>
  auth === undefined ? {} : { headers: { 'X-Registry-Auth': auth } };

export class ApiCalls {
  protected readonly http: Transport;

  constructor(transport: Transport) {
    this.http = transport;
  }

  protected get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.http.call('GET', path, { query, ...(signal && { signal }) });
  }

  protected post<T>(path: string, query: Query = {}, body?: unknown): Promise<T> {
    return this.http.call('POST', path, { query, ...(body !== undefined && { body }) });
  }

  protected async delete(path: string, query: Query = {}): Promise<void> {
    await this.http.call('DELETE', path, { query });
  }
}
