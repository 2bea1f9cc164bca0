/**
 * Namespaces, netlink sockets and sockets bound inside a namespace, through libskep. Every
 * descriptor has an owner with an explicit close: an open socket keeps its namespace alive.
 */
import { SkepError } from '../../../common/base/errors.ts';
import { Serial } from '../../../common/base/serial.ts';
import { declareAsync, declareSync, errnoName, NativeError } from '../library.ts';
import { viaScratch } from '../scratch.ts';
import {
  type MessageBatch,
  type MessageNote,
  type NetlinkMessage,
  NLM_F_ACK,
  readAnswers,
} from './message.ts';

const createCall = declareAsync('int skep_netns_create(const char *path, _Out_ uint8_t *err)');
const removeCall = declareAsync('int skep_netns_remove(const char *path, _Out_ uint8_t *err)');
const visitCall = declareAsync(
  'int skep_netns_visit(const char *ns_path, const char *steps, _Out_ int32_t *fds, uint32_t capacity, _Out_ uint8_t *err)',
);
const heardCall = declareSync('int skep_nl_heard(int32_t fd, _Out_ uint8_t *err)');
const closeCall = declareSync('int skep_fd_close(int32_t fd, _Out_ uint8_t *err)');
const transactCall = declareAsync(
  'int skep_nl_transact(int32_t fd, const uint8_t *request, uint32_t request_bytes, uint32_t last_seq, _Out_ uint8_t *reply, uint32_t reply_capacity, int32_t timeout_ms, _Out_ uint8_t *err)',
);
const askCall = declareAsync(
  'int skep_nl_ask(int32_t fd, const uint8_t *requests, uint32_t bytes, _Out_ uint8_t *reply, uint32_t reply_capacity, int32_t timeout_ms, _Out_ uint8_t *err)',
);

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

/** The namespace of this process, where a path is asked for. */
export const OWN_NAMESPACE = '';

const ANSWER_BYTES = 64 * 1024;
const DUMP_BYTES = 8 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

/** Makes a network namespace and pins it at `path`, which must not exist. */
export async function createNetns(path: string): Promise<void> {
  await createCall(path);
}

/** Takes a pin away; success when there is none. */
export async function removeNetns(path: string): Promise<void> {
  await removeCall(path);
}

/** One thing that is done inside a namespace; those that make a socket leave its descriptor. */
export type NetnsStep =
  /** files below /proc/sys/net, in order; those that the kernel does not have are passed over */
  | { readonly kind: 'set'; readonly settings: Readonly<Record<string, string>> }
  | { readonly kind: 'up'; readonly link: string }
  | { readonly kind: 'netlink'; readonly protocol: number }
  /** `changes`: sum of `CHANGES` */
  | { readonly kind: 'listen'; readonly protocol: number; readonly changes: number }
  /** of the address's family alone */
  | { readonly kind: 'tcp' | 'udp'; readonly address: string; readonly port: number };

/**
 * Does all of it in the namespace, in order, on one thread: each visit costs one. Resolves with the descriptors of the sockets in
 * their order, which the caller owns; none is open when it rejects with what the first failing step said.
 */
export async function visitNetns(nsPath: string, steps: readonly NetnsStep[]): Promise<number[]> {
  const fds = new Int32Array(steps.length);
  const count = await visitCall(nsPath, steps.flatMap(linesOf).join('\n'), fds, fds.length);
  return [...fds.subarray(0, count)];
}

function linesOf(step: NetnsStep): string[] {
  switch (step.kind) {
    case 'set':
      return Object.entries(step.settings).map(([name, value]) => `set ${name}=${value}`);
    case 'up':
      return [`up ${step.link}`];
    case 'netlink':
      return [`netlink ${step.protocol}`];
    case 'listen':
      return [`listen ${step.protocol} ${step.changes}`];
    case 'tcp':
    case 'udp':
      return [`${step.kind} ${step.address} ${step.port}`];
  }
}

/** A socket bound inside the namespace, of the address's family alone; the caller owns the descriptor. */
export async function bindInNetns(
  nsPath: string,
  kind: 'tcp' | 'udp',
  address: string,
  port: number,
): Promise<number> {
  const [fd] = await visitNetns(nsPath, [{ kind, address, port }]);
  return fd!;
}

/** Writes files below /proc/sys/net, e.g. `{'ipv4/ip_forward': '1'}`, in order. */
export async function writeNetSysctls(
  nsPath: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  await visitNetns(nsPath, [{ kind: 'set', settings }]);
}

/** Closes a descriptor that came from this module. */
export function closeFd(fd: number): void {
  closeCall(fd);
}

/** Kinds of changes that a namespace tells of: masks of RTNLGRP_* and NFNLGRP_* groups. */
export const CHANGES = {
  links: 1 << 0,
  neighbours: 1 << 2,
  /** each of both families */
  addresses: (1 << 4) | (1 << 8),
  routes: (1 << 6) | (1 << 10),
  rules: (1 << 7) | (1 << 18),
  /** of nf_tables, with NETLINK_NETFILTER */
  tables: 1 << 6,
} as const;

/** Hears that something changed in a namespace, not what. */
export class ChangeListener {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Over a socket of the step `listen`, which is its own from now on. */
  static of(fd: number): ChangeListener {
    return new ChangeListener(fd);
  }

  /** True when something changed since the last call (our own changes count), or may have. */
  heard(): boolean {
    return this.#fd >= 0 && heardCall(this.#fd) === 1;
  }

  /** Idempotent. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) closeFd(fd);
  }
}

/** What the kernel said to one message of a batch. */
export class NetlinkError extends SkepError {
  /** e.g. `EEXIST` */
  readonly errno: string;

  constructor(what: string, errno: string, detail: string) {
    super('internal', `${what}: ${errno}${detail === '' ? '' : ` (${detail})`}`);
    this.errno = errno;
  }
}

/** One netlink socket, bound to the namespace it was opened in. Exchanges run one after another. */
export class NetlinkSocket {
  #fd: number;
  #sequence = 0;
  readonly #queue = new Serial();

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static async open(nsPath: string, protocol: number): Promise<NetlinkSocket> {
    const [fd] = await visitNetns(nsPath, [{ kind: 'netlink', protocol }]);
    return NetlinkSocket.of(fd!);
  }

  /** Over a socket of the step `netlink`, which is its own from now on. */
  static of(fd: number): NetlinkSocket {
    return new NetlinkSocket(fd);
  }

  /**
   * Sends `batch`, whose last message is the one acknowledged (by default the last written), and
   * returns the answers. Rejects with the first `NetlinkError` that its message does not tolerate.
   */
  transact(batch: MessageBatch, lastIndex = batch.count - 1): Promise<NetlinkMessage[]> {
    return this.#queue.run(async () => {
      if (batch.count === 0) return [];
      if (lastIndex === batch.count - 1) batch.flagLast(NLM_F_ACK);
      return this.#exchange(batch, lastIndex, ANSWER_BYTES);
    });
  }

  /** Sends one dump request and returns every object of the answer. */
  async dump(request: MessageBatch): Promise<NetlinkMessage[]> {
    const [answer] = await this.dumpEach([request]);
    return answer ?? [];
  }

  /** The same of several, one after another in one turn on another thread. */
  dumpEach(requests: readonly MessageBatch[]): Promise<NetlinkMessage[][]> {
    return this.#queue.run(() => this.#dumpEach(requests));
  }

  /** After the exchange in flight. Idempotent. */
  close(): Promise<void> {
    return this.#queue.run(async () => {
      const fd = this.#fd;
      this.#fd = -1;
      if (fd >= 0) closeFd(fd);
    });
  }

  async #dumpEach(requests: readonly MessageBatch[]): Promise<NetlinkMessage[][]> {
    if (requests.length === 0) return [];
    for (let capacity = ANSWER_BYTES * 4; ; capacity *= 8) {
      try {
        return await this.#ask(requests, capacity);
      } catch (err) {
        const grow = err instanceof NativeError && err.errno === 'EMSGSIZE';
        if (!grow || capacity >= DUMP_BYTES * 8) throw err;
      }
    }
  }

  async #ask(requests: readonly MessageBatch[], capacity: number): Promise<NetlinkMessage[][]> {
    const base = this.#take(requests.length);
    const bytes = Buffer.concat(requests.map((request, at) => request.bytes(base + at)));
    const reply = await viaScratch(capacity, (room) =>
      askCall(this.#fd, bytes, bytes.length, room, capacity, TIMEOUT_MS),
    );
    const notes = requests.map((request) => request.notes[0]);
    const messages = this.#answersOf(reply, base, notes);
    return requests.map((_, at) => messages.filter(({ index }) => index === at));
  }

  /** Sequence numbers for so many messages. */
  #take(count: number): number {
    if (this.#fd < 0)
      throw new SkepError('failed-precondition', 'use netlink socket: it is closed');
    if (this.#sequence > 0x7000_0000) this.#sequence = 0;
    const base = this.#sequence;
    this.#sequence += count;
    return base;
  }

  #answersOf(
    reply: Buffer,
    base: number,
    notes: readonly (MessageNote | undefined)[],
  ): NetlinkMessage[] {
    const answers = readAnswers(reply, base);
    for (const problem of answers.problems) {
      const note = notes[problem.index];
      const errno = errnoName(problem.errnoValue);
      if (note?.tolerate.includes(errno)) continue;
      throw new NetlinkError(note?.what ?? 'netlink batch', errno, problem.detail);
    }
    return answers.messages;
  }

  async #exchange(batch: MessageBatch, lastIndex: number, capacity: number) {
    const base = this.#take(batch.count);
    const request = batch.bytes(base);
    const last = base + lastIndex + 1;
    const reply = await viaScratch(capacity, (room) =>
      transactCall(this.#fd, request, request.length, last, room, capacity, TIMEOUT_MS),
    );
    return this.#answersOf(reply, base, batch.notes);
  }
}
