/**
 * Breaks things at random and mends them: two hands, one for daemons and members, one for links, so that
 * faults of different kinds overlap. A seed decides what; the machine decides when.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostPlan } from '../../cli/dev/plan.ts';
import { type Random, shuffled } from '../../common/base/random.ts';
import type { Scene } from './scene.ts';

export const FAULTS = [
  'kill',
  'pause',
  'handover',
  'move',
  'member',
  'replace',
  'isolate',
  'oneway',
  'link',
  'split',
  'shatter',
  'minority',
  'loss',
  'delay',
] as const;
export type FaultKind = (typeof FAULTS)[number];

/** What each one does, for `--help`. */
export const FAULT_WORDS: Readonly<Record<FaultKind, string>> = {
  kill: 'kill -9 of a daemon, started again later',
  pause: 'SIGSTOP of a daemon, SIGCONT later',
  handover: 'SIGTERM of the leader: it hands leadership over; started again',
  move: 'kill -9, and started again at another address',
  member: 'a manager is demoted, and promoted again',
  replace: 'a manager is demoted, leaves, is removed, and joins as a new one',
  isolate: 'a host is cut off from all others, both ways',
  oneway: 'a host hears nobody, or nobody hears it',
  link: 'one link is cut, one way or both',
  split: 'two groups that do not hear each other',
  shatter: 'no host hears any other',
  minority: 'a majority is killed or paused for a while',
  loss: 'one or two hosts lose 2 to 20 % of what they are sent',
  delay: 'what a host sends comes late',
};

const HANDS: readonly (readonly FaultKind[])[] = [
  ['kill', 'pause', 'handover', 'move', 'member', 'replace', 'minority'],
  ['isolate', 'oneway', 'link', 'split', 'shatter', 'loss', 'delay'],
];

/** Between the beginnings of two faults: each is met on its own, as the limit of an outage is for one. */
const SPACING_MS = 4_000;
const HOLD_MS = { min: 1_500, max: 7_000 };
const REST_MS = { min: 1_000, max: 5_000 };
const MEMBER_LIMIT_MS = 30_000;
const LEADER_SHARE = 0.5;

export interface FaultRecord {
  readonly kind: FaultKind;
  /** For people: which hosts, how. */
  readonly what: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface NemesisOptions {
  readonly scene: Scene;
  readonly faults: ReadonlySet<FaultKind>;
  readonly random: Random;
  readonly nowMs: () => number;
  readonly say: (line: string) => void;
}

/** What a fault did, and how it is mended. */
interface Broken {
  readonly what: string;
  readonly mend: () => Promise<void>;
  /** How long it is held; default at random. */
  readonly holdMs?: number;
}

export class Nemesis {
  readonly records: FaultRecord[] = [];
  readonly #options: NemesisOptions;
  /** No fault begins earlier. */
  #nextMs = 0;
  /** Who led when the last fault began. */
  #leader: HostPlan | null = null;

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  /** Goes on until `signal`; what is broken then is mended. */
  async run(signal: AbortSignal): Promise<void> {
    const { faults } = this.#options;
    const hands = HANDS.map((kinds) => kinds.filter((kind) => faults.has(kind)));
    await Promise.all(
      hands.filter((kinds) => kinds.length > 0).map((kinds) => this.#hand(kinds, signal)),
    );
  }

  async #hand(kinds: readonly FaultKind[], signal: AbortSignal): Promise<void> {
    while (await pause(this.#between(REST_MS), signal)) {
      if (!(await this.#ownTurn(signal))) return;
      await this.#attempt(this.#pick(kinds), signal);
    }
  }

  /** Waits until the last fault's beginning is long enough ago. False when the run is over. */
  async #ownTurn(signal: AbortSignal): Promise<boolean> {
    const { nowMs } = this.#options;
    for (;;) {
      const waitMs = this.#nextMs - nowMs();
      if (waitMs <= 0) break;
      if (!(await pause(waitMs, signal))) return false;
    }
    this.#nextMs = nowMs() + SPACING_MS;
    return true;
  }

  async #attempt(kind: FaultKind, signal: AbortSignal): Promise<void> {
    const { nowMs, say } = this.#options;
    this.#leader = await this.#options.scene.leader();
    const leads = this.#leader === null ? 'nobody' : this.#leader.name;
    const fromMs = nowMs();
    const broken = await this.#break(kind);
    if (broken === null) return;
    const what = `${broken.what} (${leads} leads)`;
    say(`${kind}: ${what}`);
    await pause(broken.holdMs ?? this.#between(HOLD_MS), signal);
    await broken.mend();
    const record = { kind, what, fromMs, toMs: nowMs() };
    this.records.push(record);
    say(`${kind}: mended after ${((record.toMs - fromMs) / 1000).toFixed(1)} s`);
  }

  /** null when the fault finds nothing to break. */
  #break(kind: FaultKind): Promise<Broken | null> {
    switch (kind) {
      case 'kill':
        return this.#kill();
      case 'pause':
        return this.#pauseOne();
      case 'handover':
        return this.#handover();
      case 'move':
        return this.#move();
      case 'member':
        return this.#member();
      case 'replace':
        return this.#replace();
      case 'minority':
        return this.#minority();
      case 'isolate':
        return this.#isolate();
      case 'oneway':
        return this.#oneWay();
      case 'link':
        return this.#link();
      case 'split':
        return this.#split();
      case 'shatter':
        return this.#shatter();
      case 'loss':
        return this.#loss();
      case 'delay':
        return this.#delay();
    }
  }

  async #kill(): Promise<Broken | null> {
    const host = this.#victim();
    if (host === null) return null;
    const { scene } = this.#options;
    await scene.kill(host);
    return { what: host.name, mend: () => scene.restart(host) };
  }

  async #pauseOne(): Promise<Broken | null> {
    const host = this.#victim();
    if (host === null) return null;
    const { scene } = this.#options;
    await scene.pause(host);
    return { what: host.name, mend: () => scene.resume(host) };
  }

  async #handover(): Promise<Broken | null> {
    const { scene } = this.#options;
    const host = this.#leader;
    if (host === null || !scene.isUp(host)) return null;
    await scene.terminate(host);
    return { what: host.name, mend: () => scene.restart(host), holdMs: 500 };
  }

  async #move(): Promise<Broken | null> {
    const host = this.#victim();
    if (host === null) return null;
    const { scene } = this.#options;
    await scene.kill(host);
    await scene.move(host);
    return { what: host.name, mend: () => scene.restart(host), holdMs: 500 };
  }

  async #member(): Promise<Broken | null> {
    const host = this.#victim();
    if (host === null) return null;
    const { scene } = this.#options;
    const demoted = await scene.demote(host, MEMBER_LIMIT_MS);
    return {
      what: `${host.name} ${demoted ? 'demoted' : 'not demoted in time'}`,
      mend: () => this.#promote(host),
    };
  }

  async #replace(): Promise<Broken | null> {
    const host = this.#victim();
    if (host === null) return null;
    const { scene, say } = this.#options;
    const demoted = await scene.demote(host, MEMBER_LIMIT_MS);
    const mend = async (): Promise<void> => {
      if (!demoted) return this.#promote(host);
      if (!(await scene.replace(host, MEMBER_LIMIT_MS))) say(`replace: ${host.name} is still out`);
    };
    return { what: `${host.name}${demoted ? '' : ' (not demoted in time)'}`, mend, holdMs: 500 };
  }

  async #promote(host: HostPlan): Promise<void> {
    const { scene, say } = this.#options;
    if (!(await scene.promote(host, MEMBER_LIMIT_MS)))
      say(`member: ${host.name} is still a worker`);
  }

  async #minority(): Promise<Broken | null> {
    const { scene, random } = this.#options;
    const up = scene.hosts.filter((host) => scene.isUp(host));
    const victims = shuffled(up, random).slice(0, Math.floor(scene.hosts.length / 2) + 1);
    const kills = random.unit() < 0.5;
    for (const host of victims) await (kills ? scene.kill(host) : scene.pause(host));
    return {
      what: `${victims.map(({ name }) => name).join(', ')} ${kills ? 'killed' : 'paused'}`,
      mend: async () => {
        await Promise.all(
          victims.map((host) => (kills ? scene.restart(host) : scene.resume(host))),
        );
      },
    };
  }

  async #isolate(): Promise<Broken> {
    const host = this.#target();
    const links = this.#others(host).flatMap((other) => both(host, other));
    return { what: host.name, mend: await this.#cut(links) };
  }

  async #oneWay(): Promise<Broken> {
    const host = this.#target();
    const deaf = this.#options.random.unit() < 0.5;
    const links = this.#others(host).map((other) =>
      deaf ? { from: other, to: host } : { from: host, to: other },
    );
    const what = deaf ? `${host.name} hears nobody` : `nobody hears ${host.name}`;
    return { what, mend: await this.#cut(links) };
  }

  async #link(): Promise<Broken> {
    const host = this.#target();
    const other = this.#pick(this.#others(host));
    const way = this.#pick(['both', 'to', 'from'] as const);
    const links = both(host, other).filter(
      ({ from }) => way === 'both' || (way === 'from') === (from === host),
    );
    return { what: `${host.name} ${way} ${other.name}`, mend: await this.#cut(links) };
  }

  async #split(): Promise<Broken> {
    const { scene, random } = this.#options;
    const mixed = shuffled(scene.hosts, random);
    const size = 1 + random.below(Math.ceil(mixed.length / 2));
    const [left, right] = [mixed.slice(0, size), mixed.slice(size)];
    const links = left.flatMap((a) => right.flatMap((b) => both(a, b)));
    const names = (hosts: readonly HostPlan[]): string => hosts.map(({ name }) => name).join(' ');
    return { what: `${names(left)} | ${names(right)}`, mend: await this.#cut(links) };
  }

  async #shatter(): Promise<Broken> {
    const { hosts } = this.#options.scene;
    const links = hosts.flatMap((to) => this.#others(to).map((from) => ({ from, to })));
    return { what: 'every link', mend: await this.#cut(links) };
  }

  async #loss(): Promise<Broken> {
    const { scene, random } = this.#options;
    const hosts = shuffled(scene.hosts, random).slice(0, 1 + random.below(2));
    const share = 0.02 + random.unit() * 0.18;
    const links = hosts.flatMap((to) => this.#others(to).map((from) => ({ from, to, share })));
    const mend = await scene.breakLinks(links);
    const names = hosts.map(({ name }) => name).join(', ');
    return { what: `${(share * 100).toFixed(0)} % on the way to ${names}`, mend };
  }

  async #delay(): Promise<Broken> {
    const host = this.#target();
    return { what: host.name, mend: await this.#options.scene.slowDown(host) };
  }

  #cut(links: readonly { readonly from: HostPlan; readonly to: HostPlan }[]) {
    return this.#options.scene.breakLinks(links.map((link) => ({ ...link, share: 1 })));
  }

  #others(host: HostPlan): HostPlan[] {
    return this.#options.scene.hosts.filter(({ name }) => name !== host.name);
  }

  /** A host whose daemon runs, half of the time the leader's; null when none runs. */
  #victim(): HostPlan | null {
    const { scene } = this.#options;
    const host = this.#target();
    if (scene.isUp(host)) return host;
    const up = scene.hosts.filter((candidate) => scene.isUp(candidate));
    return up.length > 0 ? this.#pick(up) : null;
  }

  #target(): HostPlan {
    const { scene, random } = this.#options;
    const chosen = this.#pick(scene.hosts);
    return random.unit() < LEADER_SHARE ? (this.#leader ?? chosen) : chosen;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#options.random.below(items.length)]!;
  }

  #between({ min, max }: { readonly min: number; readonly max: number }): number {
    return min + this.#options.random.unit() * (max - min);
  }
}

function both(a: HostPlan, b: HostPlan) {
  return [
    { from: a, to: b },
    { from: b, to: a },
  ];
}

/** False when the run is over. */
async function pause(delayMs: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  try {
    await sleep(delayMs, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
