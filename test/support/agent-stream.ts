/** An agent's end of its session, without a transport. */
import { BoundedQueue } from '../../common/base/queue.ts';
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import type { AgentStream } from '../../manager/dispatcher/agent-session.ts';

const INBOX_MAX = 1_000;

export type Of<K extends DispatcherMessage['kind']> = Extract<DispatcherMessage, { kind: K }>;

export class FakeAgentStream implements AgentStream {
  /** everything that was sent to the agent */
  readonly sent: DispatcherMessage[] = [];
  /** sending fails with this from the given message on */
  full: { readonly from: number; readonly reason: unknown } | null = null;
  readonly #inbox = new BoundedQueue<AgentMessage>(INBOX_MAX);
  readonly #broken = new AbortController();
  #failure: { readonly reason: unknown } | null = null;
  #taken: AgentMessage[] = [];

  /** the peer takes nothing by itself: sent messages wait */
  slow = false;
  #isQueued = false;
  #wake: (() => void)[] = [];

  send(message: DispatcherMessage): boolean {
    if (this.full && this.sent.length >= this.full.from) throw this.full.reason;
    this.sent.push(message);
    this.#isQueued = this.slow;
    return !this.slow;
  }

  async drained(): Promise<void> {
    while (this.#isQueued || this.#failure) {
      if (this.#failure) throw this.#failure.reason;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** It takes all that was sent, and will take what comes. */
  drain(): void {
    this.slow = false;
    this.take();
  }

  /** It takes what was sent up to now. */
  take(): void {
    this.#isQueued = false;
    for (const wake of this.#wake.splice(0)) wake();
  }

  async receive(): Promise<AgentMessage | null> {
    if (this.#failure) throw this.#failure.reason;
    if (this.#taken.length === 0) {
      this.#taken = (await this.#inbox.takeAll(this.#broken.signal)) ?? [];
    }
    return this.#taken.shift() ?? null;
  }

  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#broken.abort(this.#failure.reason);
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** The agent says something. */
  say(message: AgentMessage): void {
    this.#inbox.push(message);
  }

  /** The agent ends the stream. */
  close(): void {
    this.#inbox.close();
  }

  of<K extends DispatcherMessage['kind']>(kind: K): Of<K>[] {
    return this.sent.filter((message): message is Of<K> => message.kind === kind);
  }
}
