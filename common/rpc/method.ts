/**
 * RPC methods as plain data: path, direction of the streams, codecs and who may call. Server and
 * client share the same value, so that they cannot disagree. Knows nothing of gRPC.
 */
import type { NodeRole } from '../model/node.ts';

/**
 * Turns messages into bytes and back. `decode` throws on bytes that are no such message. `encode`
 * never gives a single zero byte (no protobuf encoding is one): it marks the end of request streams.
 */
export interface Codec<T> {
  encode(message: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** `anyone` = also callers without a certificate (joining nodes). */
export type CallerRole = NodeRole | 'anyone';

export interface MethodParts<Request, Response> {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
  /** who may call; checked by the server for each call, not empty */
  readonly roles: readonly CallerRole[];
  /**
   * A manager's certificate is not enough: it lives on for months when the manager is removed or demoted. The caller is
   * to be one of the managers that the serving node knows of now. For methods that are power over a node or the cluster.
   */
  readonly needsCurrentManager?: true;
  /**
   * A manager's certificate is enough, also when the serving node knows its node as a worker: for Raft's own traffic, which brings
   * the very log that says otherwise to a member that lags. Its group decides whom it hears.
   */
  readonly certificateIsEnough?: true;
}

export interface UnaryMethod<Request, Response> extends MethodParts<Request, Response> {
  readonly kind: 'unary';
}
export interface ServerStreamMethod<Request, Response> extends MethodParts<Request, Response> {
  readonly kind: 'serverStream';
}
export interface ClientStreamMethod<Request, Response> extends MethodParts<Request, Response> {
  readonly kind: 'clientStream';
}
/** Messages of both kinds, on a link that is a connection of its own. */
export interface DuplexMethod<Request, Response> extends MethodParts<Request, Response> {
  readonly kind: 'duplex';
}
/** Messages of both kinds, independent of each other, on a connection of its own (see `link.ts`). */
export interface LinkMethod<Request, Response> extends MethodParts<Request, Response> {
  readonly kind: 'link';
}
export type Method<Request, Response> =
  | UnaryMethod<Request, Response>
  | ServerStreamMethod<Request, Response>
  | ClientStreamMethod<Request, Response>
  | DuplexMethod<Request, Response>
  | LinkMethod<Request, Response>;

/** One request, one response. */
export function unary<Request, Response>(
  parts: MethodParts<Request, Response>,
): UnaryMethod<Request, Response> {
  return { kind: 'unary', ...parts };
}

/** One request, many responses. */
export function serverStream<Request, Response>(
  parts: MethodParts<Request, Response>,
): ServerStreamMethod<Request, Response> {
  return { kind: 'serverStream', ...parts };
}

/** Many requests, one response. */
export function clientStream<Request, Response>(
  parts: MethodParts<Request, Response>,
): ClientStreamMethod<Request, Response> {
  return { kind: 'clientStream', ...parts };
}

/** Many of both, independent of each other; no part of gRPC, see `LinkStream`. */
export function duplex<Request, Response>(
  parts: MethodParts<Request, Response>,
): DuplexMethod<Request, Response> {
  return { kind: 'duplex', ...parts };
}

/** Many of both on a link; no part of gRPC. */
export function link<Request, Response>(
  parts: MethodParts<Request, Response>,
): LinkMethod<Request, Response> {
  return { kind: 'link', ...parts };
}
