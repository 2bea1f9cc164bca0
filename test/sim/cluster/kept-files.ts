/**
 * The agent's small files on a machine that may lose power: nothing of them is ever synced, so that
 * each change since the last quiet moment is kept, lost, or leaves an empty file.
 */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { SmallFiles } from '../../../common/base/small-files.ts';

/** The kernel writes back what is older than this (`dirty_expire_centisecs` and a wake-up). */
const WRITTEN_BACK_MS = 35_000;

interface Change {
  readonly atMs: number;
  readonly path: string;
  /** null = there was none */
  readonly before: string | null;
}

export interface KeptFilesOptions {
  readonly random: SeededRandom;
  readonly nowMs: () => number;
  /** Awaited within each operation; null = it takes no time. */
  readonly latency: () => Promise<void> | null;
}

export class KeptFiles {
  readonly #options: KeptFilesOptions;
  readonly #files = new Map<string, string>();
  #changes: Change[] = [];
  #life = 0;

  constructor(options: KeptFilesOptions) {
    this.#options = options;
  }

  /** As one life of the process sees them: nothing ends after `kill` or `crash`. */
  mount(): SmallFiles {
    const life = this.#life;
    const operate = async <T>(act: () => T): Promise<T> => {
      const latency = this.#options.latency();
      if (latency !== null) await latency;
      if (life !== this.#life) return await never();
      const result = act();
      await null;
      return life === this.#life ? result : await never();
    };
    return {
      list: (dir) =>
        operate(() =>
          [...this.#files.keys()]
            .filter((path) => path.startsWith(`${dir}/`))
            .map((path) => path.slice(dir.length + 1)),
        ),
      read: (path) => operate(() => this.#files.get(path) ?? null),
      replace: async (path, text) => {
        await operate(() => this.#set(`${path}.new`, text));
        await operate(() => {
          this.#set(`${path}.new`, null);
          this.#set(path, text);
        });
      },
      remove: (path) => operate(() => this.#set(path, null)),
    };
  }

  /** The process dies; the page cache stays. */
  kill(): void {
    this.#life++;
  }

  crash(): void {
    this.#life++;
    const { random, nowMs } = this.#options;
    const recent = this.#changes.filter(({ atMs }) => nowMs() - atMs < WRITTEN_BACK_MS);
    for (const { path, before } of recent.reverse()) {
      const fate = random.below(4);
      if (fate === 0 && this.#files.has(path)) this.#files.set(path, '');
      if (fate !== 1) continue;
      if (before === null) this.#files.delete(path);
      else this.#files.set(path, before);
    }
    this.#changes = [];
  }

  #set(path: string, text: string | null): void {
    this.#changes.push({
      atMs: this.#options.nowMs(),
      path,
      before: this.#files.get(path) ?? null,
    });
    if (this.#changes.length > 2_000) this.#changes.splice(0, 1_000);
    if (text === null) this.#files.delete(path);
    else this.#files.set(path, text);
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}
