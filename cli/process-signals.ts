/**
 * Signals to the process of a command: Ctrl-C aborts what it does, a second one ends it; a command that passes them on
 * takes them all.
 */

/** Those that a command may take: what ends a process, and what is there for its own use. */
const TAKEN = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
/** As Docker: the way out when what they are passed on to does not end, or the daemon does not answer. */
const TERMINATIONS_MAX = 3;
const EXIT_TERMINATED = 1;
const EXIT_INTERRUPTED = 130;

type Deliver = (name: NodeJS.Signals) => void;

export class ProcessSignals {
  readonly #source: Pick<NodeJS.EventEmitter, 'on' | 'off'>;
  readonly #exit: (status: number) => void;
  readonly #interrupt = new AbortController();
  #taken: Deliver | null = null;

  /** @param source emits signals by name, as `process` */
  constructor(source: Pick<NodeJS.EventEmitter, 'on' | 'off'>, exit: (status: number) => void) {
    this.#source = source;
    this.#exit = exit;
    source.on('SIGINT', () => {
      if (this.#taken === null) this.#interrupted();
    });
  }

  /** Aborted by the first Ctrl-C that nobody took. */
  get interrupted(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** `deliver` gets what comes, until what is returned is called. The third that ends a process ends this one. */
  take(deliver: Deliver): () => void {
    let terminations = 0;
    const listener = (name: NodeJS.Signals): void => {
      if (name === 'SIGINT' || name === 'SIGTERM') terminations++;
      if (terminations >= TERMINATIONS_MAX) this.#exit(EXIT_TERMINATED);
      else deliver(name);
    };
    this.#taken = deliver;
    for (const name of TAKEN) this.#source.on(name, listener);
    return () => {
      this.#taken = null;
      for (const name of TAKEN) this.#source.off(name, listener);
    };
  }

  #interrupted(): void {
    if (this.#interrupt.signal.aborted) this.#exit(EXIT_INTERRUPTED);
    else this.#interrupt.abort(new Error('interrupted'));
  }
}
