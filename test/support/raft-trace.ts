/** What a scenario prints: log lines by level, everything at once or nothing, nesting by indent. */
import type { RaftEventLevel } from '../../manager/raft/events.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal', 'none'] as const;

/** The trace: level by level filtered, silenced wholly at `none`. */
export class Trace {
  level: (typeof LOG_LEVELS)[number] = 'debug';
  #text = '';

  get silent(): boolean {
    return this.level === 'none';
  }

  write(text: string): void {
    if (!this.silent) this.#text += text;
  }

  log(level: RaftEventLevel, text: string): void {
    if (LOG_LEVELS.indexOf(this.level) > LOG_LEVELS.indexOf(level)) return;
    this.#text += `${level.toUpperCase()} ${text}\n`;
  }

  /** What `body` prints is moved in by two spaces. */
  indented(body: () => void): void {
    const outer = this.#text;
    this.#text = '';
    try {
      body();
    } finally {
      const lines = this.#text.replace(/\n$/, '').split('\n');
      this.#text = outer + (this.#text === '' ? '' : lines.map((one) => `  ${one}\n`).join(''));
    }
  }

  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }
}
