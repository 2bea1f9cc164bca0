/** An agent's reporter that can be kept from reporting, as by a process that has no time for it. */
import { StatusReporter } from '../../../worker/agent/status-reporter.ts';

export class LateReporter extends StatusReporter {
  #isHeld = false;
  #wake: (() => void) | null = null;

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#wake?.();
  }

  override setListener(listener: (() => void) | null): void {
    this.#wake = listener;
    super.setListener(listener);
  }

  override take(): ReturnType<StatusReporter['take']> {
    return this.#isHeld ? null : super.take();
  }
}
