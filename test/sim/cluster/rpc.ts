/**
 * What goes over simulated connections when nodes call one another, and who listens where. Its server and
 * its clients are `rpc-server.ts` and `rpc-client.ts`: same codecs, roles and errors as the real ones.
 */
import { KEEPALIVE_PERIOD_MS, KEEPALIVE_TIMEOUT_MS } from '../../../common/rpc/limits.ts';
import type { Method } from '../../../common/rpc/method.ts';
import type { statusOfError } from '../../../common/rpc/status.ts';
import type { SimRpcServer } from './rpc-server.ts';
import type { Frame, Patience, Process, Wires } from './wires.ts';

export type AnyMethod = Method<unknown, unknown>;

export type CallFrame = Frame & { readonly call: number } & (
    | {
        readonly kind: 'open';
        readonly method: AnyMethod;
        readonly metadata: ReadonlyMap<string, string>;
      }
    | { readonly kind: 'message'; readonly data: Uint8Array; readonly arrived: () => void }
    | { readonly kind: 'half-close' }
    | { readonly kind: 'reset' }
    | { readonly kind: 'status'; readonly status: ReturnType<typeof statusOfError> | null }
  );

export type CallWires = Wires<CallFrame>;

/** Bytes of a frame that carries nothing but its kind. */
export const HEAD_BYTES = 9;
/** Who listens where. */
export interface Directory {
  readonly wires: CallWires;
  /** The server at an address; null when nobody listens there. */
  readonly serverAt: (address: string) => SimRpcServer | null;
  /** The machine of an address, whether or not somebody listens. */
  readonly hostAt: (address: string) => number;
  /** Told of each message of a call when it is there; what arrives is what it returns. */
  readonly deliver: (message: Delivered) => unknown;
  /** Told of each message that a server writes. */
  readonly written: (message: Written) => void;
  /** A stream of agents takes no more from the server when so much is under way. */
  readonly agentHighWaterBytes: number;
}

export interface Delivered {
  readonly method: AnyMethod;
  readonly client: Process;
  readonly server: Process;
  readonly toServer: boolean;
  readonly message: unknown;
}

export interface Written {
  readonly method: AnyMethod;
  readonly client: Process;
  readonly message: unknown;
  /** Bytes under way before it was written. */
  readonly pendingBytes: number;
  /** The writer is told to wait. */
  readonly isFull: boolean;
}

export const KEEPALIVE: Patience = {
  periodMs: KEEPALIVE_PERIOD_MS,
  timeoutMs: KEEPALIVE_TIMEOUT_MS,
};
