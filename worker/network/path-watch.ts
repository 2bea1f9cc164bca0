/**
 * What the ways to other hosts carry, tried again and again: where less passes than this node's link carries, managers are
 * to be told, and overlays carry less. Knows when to look and what to believe, not how it is tried.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import { type Random, shuffled } from '../../common/base/random.ts';
import { UNDERLAY_MTU_MIN } from '../../common/model/network.ts';
import { measurePaths, type Path, type ProbePaths } from './path-check.ts';

export interface PathWatchOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** to the other hosts, each as wide as this node's link */
  readonly paths: () => readonly Path[];
  readonly probe: ProbePaths;
  /** Other ways are narrow than before, or none is. @param mtu of the narrowest, bytes; null = none */
  readonly tell: (mtu: number | null) => void;
}

const PERIOD_MS = 20_000;
/** In a large cluster some at a time: each of its nodes asks all others otherwise. */
const PATHS_OF_ROUND_MAX = 50;

export class PathWatch {
  readonly #options: PathWatchOptions;
  /** address -> bytes that passed at the last look, of ways that are narrow by one look */
  readonly #suspected = new Map<string, number>();
  /** the same, by two looks in a row */
  readonly #narrow = new Map<string, number>();
  #told: number | null = null;
  #timer: Timer | null = null;
  #underWay: Promise<void> | null = null;
  #end = new AbortController();

  constructor(options: PathWatchOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, log } = this.#options;
    this.#end = new AbortController();
    this.#timer = clock.setPeriodic(PERIOD_MS, () => {
      this.look().catch((err: unknown) => log.warn({ err }, 'ways to other hosts were not tried'));
    });
  }

  /** A look under way ends without a word at its next probe. Resolves when none is; never rejects. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#end.abort();
    await this.#underWay?.catch(() => {});
  }

  /** One look; none while another is under way. */
  async look(): Promise<void> {
    if (this.#underWay) return;
    const { signal } = this.#end;
    this.#underWay = this.#look(signal);
    try {
      await this.#underWay;
    } catch (err) {
      if (!signal.aborted) throw err;
    } finally {
      this.#underWay = null;
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const all = this.#options.paths();
    this.#forgetOthers(all);
    const { random, probe } = this.#options;
    const some = shuffled(all, random).slice(0, PATHS_OF_ROUND_MAX);
    const passing = await measurePaths(some, async (probes, timeoutMs) => {
      signal.throwIfAborted();
      return probe(probes, timeoutMs);
    });
    signal.throwIfAborted();
    for (const [i, path] of some.entries()) this.#note(path, passing[i] ?? null);
    this.#tell();
  }

  #forgetOthers(paths: readonly Path[]): void {
    const addresses = new Set(paths.map(({ address }) => address));
    for (const known of [this.#suspected, this.#narrow]) {
      for (const address of known.keys()) if (!addresses.has(address)) known.delete(address);
    }
  }

  /** @param bytes that passed; null = no answer, which tells nothing */
  #note({ address, packetBytes }: Path, bytes: number | null): void {
    if (bytes === null) return;
    if (bytes >= packetBytes) {
      this.#suspected.delete(address);
      this.#narrow.delete(address);
      return;
    }
    if (this.#suspected.has(address)) this.#narrow.set(address, bytes);
    this.#suspected.set(address, bytes);
  }

  #tell(): void {
    // Networks could not live with less: such a way is for its owner to mend, and `net verify` tells of it.
    const usable = [...this.#narrow].filter(([, bytes]) => bytes >= UNDERLAY_MTU_MIN);
    const lowest = usable.length === 0 ? null : Math.min(...usable.map(([, bytes]) => bytes));
    if (lowest === this.#told) return;
    this.#told = lowest;
    const ways = Object.fromEntries(this.#narrow);
    this.#options.log.warn(
      { lowest, ways },
      'ways to other hosts carry less than the link, or again as much',
    );
    this.#options.tell(lowest);
  }
}
