/**
 * Users: each asks one thing after the other of any manager, and remembers what it was told. Knows
 * nothing of faults.
 */
import { SkepError } from '../../../common/base/errors.ts';
import type { SeededRandom } from '../../../common/base/random.ts';
import { WORLD } from '../clock.ts';
import type { Host } from './host.ts';
import type { Operator } from './operator.ts';
import { Requests } from './requests.ts';
import type { ClusterWorld } from './world.ts';

/** A user who waits longer than this asks something else; the request may still be carried out. */
const PATIENCE_MS = 8_000;

export class Users {
  readonly requests: Requests;
  readonly #world: ClusterWorld;
  readonly #random: SeededRandom;
  #stopped = false;

  constructor(world: ClusterWorld, operator: Operator) {
    this.#world = world;
    this.#random = world.fork();
    this.requests = new Requests(world, operator);
  }

  start(): void {
    for (let user = 1; user <= this.#world.plan.users; user++) this.#think(user);
  }

  stop(): void {
    this.#stopped = true;
  }

  #think(user: number): void {
    const { plan, clock } = this.#world;
    const delayMs = -plan.thinkMs * Math.log(1 - this.#random.unit());
    clock.schedule(delayMs, WORLD, 'client', () => this.#act(user));
  }

  #act(user: number): void {
    if (this.#stopped) return;
    const host = this.#choose();
    if (host === null) {
      this.#think(user);
      return;
    }
    let isOver = false;
    const next = (): void => {
      if (isOver) return;
      isOver = true;
      patience.cancelled = true;
      this.#think(user);
    };
    const patience = this.#world.clock.schedule(PATIENCE_MS, WORLD, 'client', next);
    this.#ask(host, next);
  }

  #ask(host: Host, then: () => void): void {
    const { life } = host;
    const request = this.requests.next();
    this.#world.onDeath(host, then);
    host.whenAwake(() => {
      const control = host.life === life ? host.control : null;
      if (control === null) {
        then();
        return;
      }
      void request.perform(control).then(
        (words) => {
          this.#world.checks.tell('answered');
          if (host.life === life)
            this.#tell(host, `${request.name} done${words}`, 'ok', request.name);
          then();
        },
        (err: unknown) => {
          if (host.life === life) this.#refused(host, request.name, err);
          then();
        },
      );
    });
  }

  #refused(host: Host, name: string, err: unknown): void {
    if (!(err instanceof SkepError) || err.code === 'internal') this.#world.surprise(err);
    const code = err instanceof SkepError ? err.code : 'error';
    this.#tell(host, `${name} refused: ${String(err)}`, code, name);
  }

  #tell(host: Host, line: string, outcome: string, name: string): void {
    this.#world.count(`operation.${name}.${outcome}`);
    this.#world.note(host.id, line);
  }

  /** Mostly whoever leads, else any manager. */
  #choose(): Host | null {
    const up = this.#world.managers().filter(({ isUp }) => isUp);
    if (up.length === 0) return null;
    const leader = this.#world.leader();
    if (leader?.isUp && this.#random.below(3) > 0) return leader;
    return up[this.#random.below(up.length)]!;
  }
}
