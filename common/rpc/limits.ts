/** Limits and times of every connection, in one place. */

/** Largest message, bytes (gRPC's and Swarm's default). Larger things are streamed in parts. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** From this many unsent bytes on `write` asks the sender to wait. */
export const STREAM_HIGH_WATER_BYTES = 256 * 1024;
/** A sender that goes on regardless is refused above this many unsent bytes. */
export const STREAM_PENDING_BYTES_MAX = 16 * 1024 * 1024;
/** HTTP/2 window: a stream at 10 ms round trip may carry 400 MB/s. */
export const FLOW_CONTROL_WINDOW_BYTES = 4 * 1024 * 1024;
/** What one connection's streams may hold at a server, MB; Node's own limit of 10 is less than three messages. */
export const SESSION_MEMORY_MB_MAX = 256;
/** Calls under way on one connection; a client's further ones wait there. */
export const CALLS_PER_CONNECTION_MAX = 1_000;
/** A message that began to come is there after this, or its call is over. */
export const MESSAGE_TIMEOUT_MS = 30_000;
/** Unary calls end after this unless told otherwise (Swarm: 5 s for each RPC). */
export const UNARY_TIMEOUT_MS = 5_000;
/** TCP and TLS together. A lost SYN is sent again after 1 s and 3 s: one loss is survived. */
export const CONNECT_TIMEOUT_MS = 3_000;
/**
 * The same for agents' sessions, where TCP and TLS have a limit each. The kernel answers for a host that lives; two that are
 * gone may be tried before a third within a new leader's grace (20 s). Then the manager may have thousands of
 * handshakes to make, one after the other.
 */
export const SESSION_LIMITS = { connectTimeoutMs: 5_000, handshakeTimeoutMs: 15_000 } as const;
/**
 * TLS with a manager of which another one says that it leads: it lives, and the turn of this agent comes. With thousands of
 * agents that is as long as a new leader waits for all of them, less the time to ask another.
 */
export const LEADER_HANDSHAKE_TIMEOUT_MS = 60_000;
/** Of the server, from its turn on; a connection by which nothing comes has no more either. */
export const HANDSHAKE_TIMEOUT_MS = 20_000;
/** Handshakes that a server has under way at once: while clients make their part of some it does its own of others. */
export const HANDSHAKES_AT_ONCE_MAX = 32;
/** So long one counts as under way, done or not. */
export const HANDSHAKE_TURN_MS = 2_000;
/** Connections that the kernel may hold until they are taken; it has a limit of its own (somaxconn, mostly 4,096). */
export const LISTEN_BACKLOG = 4_096;
/** A silent peer is pinged after this, and given up this much later. */
export const KEEPALIVE_PERIOD_MS = 5_000;
export const KEEPALIVE_TIMEOUT_MS = 4_000;
/**
 * Between managers, which choose a new leader within 2 s. TCP alone would go on with a link that was cut
 * for some seconds only after as long again: its retries are ever further apart.
 */
export const PEER_LIMITS = {
  connectTimeoutMs: 1_500,
  keepalivePeriodMs: 1_000,
  keepaliveTimeoutMs: 2_000,
} as const;
/**
 * Where the other end is known to be alive by other means: a server is pinged by its clients, or beaten to, and an
 * agent's heartbeats are answered. With thousands of agents pings would be more than half of all traffic at rest.
 */
export const KEEPALIVE_RARE_PERIOD_MS = 30_000;
/** A connection without calls is closed after this (grpc-js: half an hour); a manager may have thousands. */
export const IDLE_TIMEOUT_MS = 60_000;
/**
 * A link is given up after this many periods in which nothing came: 2.5 to 3 s, as PEER_LIMITS. Periods and
 * not time, so that an end that was stopped itself looks at what came meanwhile before it judges.
 */
export const LINK_LIMITS = {
  alivePeriodMs: 500,
  silentPeriodsMax: 5,
  /** Largest frame of a caller that is not known yet. */
  openBytesMax: 1024,
} as const;
export const RECONNECT_BASE_MS = 100;
export const RECONNECT_MAX_MS = 1_000;
/** Connections held by a server at once; further ones are closed by the kernel's listener. */
export const CONNECTIONS_MAX = 16_384;
