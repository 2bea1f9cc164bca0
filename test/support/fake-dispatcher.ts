/** The dispatcher's side of an agent's session, played by a test. */
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import type { DispatcherDialer, DispatcherSession } from '../../worker/agent/agent.ts';

export class FakeSession implements DispatcherSession {
  readonly sent: AgentMessage[] = [];
  closed = false;
  paused = false;
  /** each heartbeat is answered at once */
  answers = true;
  readonly #waiting: (DispatcherMessage | Error | null)[] = [];
  #wake: (() => void) | null = null;

  /** An `Error` breaks the stream, null ends it. */
  push(...messages: (DispatcherMessage | Error | null)[]): void {
    this.#waiting.push(...messages);
    this.#wake?.();
  }

  kinds(): string[] {
    return this.sent.map(({ kind }) => kind);
  }

  send(message: AgentMessage): boolean {
    this.sent.push(message);
    if (message.kind === 'heartbeat' && this.answers) {
      this.push({ kind: 'heartbeat-heard', storedSequence: 0 });
    }
    return true;
  }

  async receive(signal: AbortSignal): Promise<DispatcherMessage | null> {
    while (this.#waiting.length === 0) {
      await new Promise<void>((resolve, reject) => {
        if (signal.aborted) reject(signal.reason);
        this.#wake = resolve;
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    }
    const next = this.#waiting.shift()!;
    if (next instanceof Error) throw next;
    return next;
  }

  close(reason?: unknown): void {
    if (!this.closed && reason instanceof Error) this.push(reason);
    this.closed = true;
  }

  async pause(): Promise<void> {
    this.paused = !this.closed;
  }
}

/** Each `open` is a new session; the errors in `failures` come first. */
export class FakeDialer implements DispatcherDialer {
  readonly sessions: FakeSession[] = [];
  readonly failures: unknown[] = [];
  readonly learned: string[][] = [];
  attempts = 0;

  async open(signal: AbortSignal): Promise<DispatcherSession> {
    signal.throwIfAborted();
    this.attempts++;
    if (this.failures.length > 0) throw this.failures.shift();
    const session = new FakeSession();
    this.sessions.push(session);
    return session;
  }

  learnManagers(managers: readonly { nodeId: string; address: string }[]): void {
    this.learned.push(managers.map(({ address }) => address));
  }

  /** The newest session. */
  get session(): FakeSession {
    const session = this.sessions.at(-1);
    if (!session) throw new Error('no session was opened yet');
    return session;
  }
}
