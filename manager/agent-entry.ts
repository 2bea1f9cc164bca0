/**
 * Where agents' sessions come in, on every manager: the leader's dispatcher serves them, others name the leader. Knows
 * nothing of what is said in a session.
 */
import type { Clock } from '../common/base/clock.ts';
import { SkepError } from '../common/base/errors.ts';
import type { AgentMessage, DispatcherMessage } from '../common/model/session.ts';
import type { CallContext } from '../common/rpc/call-runner.ts';
import type { RpcStream } from '../common/rpc/stream.ts';
import type { Dispatcher } from './dispatcher/dispatcher.ts';

/**
 * An agent waits so long on the connection that it has made while nobody leads: an election and the start of a leader's
 * rooms. It would come back at once, and thousands of them with a handshake each, some ms of this manager's time.
 */
const PATIENCE_MS = 3_000;
/** One look for all who wait. */
const LOOK_PERIOD_MS = 50;

export interface AgentEntryOptions {
  /** the dispatcher, while this manager leads and its rooms are open */
  readonly dispatcher: () => Pick<Dispatcher, 'serve'> | undefined;
  /** another manager is known to lead */
  readonly isFollower: () => boolean;
  readonly notLeader: (action: string) => SkepError;
  readonly clock: Clock;
}

export class AgentEntry {
  readonly #options: AgentEntryOptions;
  #look: Promise<void> | null = null;

  constructor(options: AgentEntryOptions) {
    this.#options = options;
  }

  async serve(
    stream: RpcStream<AgentMessage, DispatcherMessage>,
    context: Pick<CallContext, 'peer' | 'signal'>,
  ): Promise<void> {
    const { peer } = context;
    if (peer.nodeId === null) {
      throw new SkepError('unauthenticated', 'agent session: no certificate');
    }
    const dispatcher = await this.#dispatcher(context);
    await dispatcher.serve(peer.nodeId, peer.address, {
      send: (message) => stream.write(message),
      drained: () => stream.drained(),
      receive: () => stream.next(),
      fail: (reason) => stream.fail(reason),
    });
  }

  async #dispatcher(context: Pick<CallContext, 'signal'>): Promise<Pick<Dispatcher, 'serve'>> {
    const { dispatcher, isFollower, notLeader, clock } = this.#options;
    const endMs = clock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      const ours = dispatcher();
      if (ours) return ours;
      if (isFollower() || clock.monotonicMs() >= endMs) throw notLeader('agent session');
      this.#look ??= clock.sleep(LOOK_PERIOD_MS).finally(() => {
        this.#look = null;
      });
      await this.#look;
      context.signal.throwIfAborted();
    }
  }
}
