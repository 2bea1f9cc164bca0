/** What a user was told is done is committed, and nobody but users changes what is asked for. */
import { isDeepStrictEqual } from 'node:util';
import type { Service, ServiceSpec } from '../../../../common/model/service.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';

export class AcknowledgedStays implements ClusterChecker {
  readonly number = 3;
  readonly name = 'an acknowledged write is there and stays, and specs are the user’s words';
  readonly #world: ClusterWorld;
  /** Every spec that a service ever had. */
  readonly #specs = new Map<string, ServiceSpec[]>();
  readonly #removed = new Set<string>();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  committed({ changes }: Commit): void {
    for (const change of changes) {
      if (change.kind !== 'service') continue;
      const { object } = change;
      if (change.action === 'create') this.#created(object);
      else if (change.action === 'remove') this.#gone(object);
      else if (!isDeepStrictEqual(change.previous.spec, object.spec)) {
        this.#changed(change.previous, object);
      }
    }
  }

  /** A user was told so at this moment. */
  answered(): void {
    const { writes, removals } = this.#world.ledger;
    for (const [write, { serviceId, spec, acknowledged }] of writes) {
      if (!acknowledged) continue;
      const isThere = this.#specs.get(serviceId!)?.some((one) => isSame(one, spec));
      expect(
        isThere ?? false,
        () => `write ${write} of ${serviceId} was acknowledged and is not committed`,
      );
      writes.set(write, { serviceId, spec, acknowledged: false }); // judged
    }
    for (const [id, removal] of removals) {
      if (!removal.acknowledged) continue;
      expect(
        this.#removed.has(id),
        () => `the removal of service ${id} was acknowledged and is not committed`,
      );
    }
  }

  ended(view: ReadView): void {
    for (const id of this.#removed) {
      expect(view.get('service', id) === undefined, () => `service ${id} is back`);
    }
    for (const id of this.#specs.keys()) {
      const isThere = view.get('service', id) !== undefined;
      expect(isThere || this.#removed.has(id), () => `service ${id} is lost`);
    }
  }

  #created({ id, spec }: Service): void {
    this.#requireAsked(id, spec);
    this.#specs.set(id, [spec]);
  }

  #changed(previous: Service, { id, spec }: Service): void {
    const isRollback = previous.previousSpec !== null && isSame(previous.previousSpec, spec);
    if (!isRollback) this.#requireAsked(id, spec);
    this.#specs.get(id)!.push(spec);
  }

  #gone({ id }: Service): void {
    this.#removed.add(id);
    expect(this.#world.ledger.removals.has(id), () => `nobody asked to remove service ${id}`);
  }

  #requireAsked(id: string, spec: ServiceSpec): void {
    const isAsked = [...this.#world.ledger.writes.values()].some((write) => {
      return (write.serviceId ?? id) === id && isSame(write.spec, spec);
    });
    expect(isAsked, () => `nobody asked service ${id} to be ${JSON.stringify(spec)}`);
  }
}

function isSame(a: ServiceSpec, b: ServiceSpec): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}
