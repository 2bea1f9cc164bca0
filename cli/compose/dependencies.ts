/** `depends_on`: which services a service waits for; the names must exist and make no ring. */
import { DEPENDENCY_CONDITIONS } from '../../common/model/start-order.ts';
import { type CompanionNames, companionEdges } from './companions.ts';
import type { Item } from './item.ts';
import { nearestWord } from './problems.ts';
import type { Dependency } from './stack.ts';

interface Edge {
  readonly to: string;
  /** where it is written */
  readonly at: Item;
}

/** Both forms: names alone wait for the start. */
export function dependenciesOf(item: Item | undefined): Dependency[] {
  if (!item) return [];
  if (item.isList) {
    return item.texts().map((service) => ({
      service,
      condition: 'service_started',
      required: true,
    }));
  }
  return item.entries().map(([service, entry]) => {
    const fields = entry.fields();
    return {
      service,
      condition: fields.get('condition')?.oneOf(DEPENDENCY_CONDITIONS) ?? 'service_started',
      required: fields.get('required')?.boolean() ?? true,
    };
  });
}

/** Notes services that do not exist, and rings with their path. */
export function checkDependencies(
  services: ReadonlyMap<string, Item>,
  companions: CompanionNames,
): void {
  const edges = new Map<string, readonly Edge[]>();
  for (const [name, service] of services) {
    const item = service.fields().get('depends_on');
    const optional = new Set(
      dependenciesOf(item)
        .filter(({ required }) => !required)
        .map(({ service: other }) => other),
    );
    const targets = !item
      ? []
      : item.isList
        ? item.items().map((at) => ({ to: at.text() ?? '', at }))
        : item.entries().map(([to, at]) => ({ to, at }));
    edges.set(name, [
      ...targets.filter(({ to, at }) => {
        if (services.has(to)) return true;
        if (!optional.has(to)) unknownService(at, to, [...services.keys()]);
        return false;
      }),
      ...companionEdges(companions, service.fields()).filter(({ to }) => to !== name),
    ]);
  }
  findRings(edges);
}

function unknownService(at: Item, name: string, known: readonly string[]): void {
  const near = nearestWord(name, known);
  const hint = near === null ? '' : `; did you mean ${near}?`;
  at.problem(`${at.path}: there is no service "${name}" in this deployment${hint}`);
}

/** Each ring is told once, at the edge that closes it. A walk with a stack of its own: chains are long. */
function findRings(edges: ReadonlyMap<string, readonly Edge[]>): void {
  const done = new Set<string>();
  for (const start of edges.keys()) {
    if (done.has(start)) continue;
    const depths = new Map([[start, 0]]);
    const walk = [{ name: start, next: 0 }];
    for (let step = walk.at(-1); step; step = walk.at(-1)) {
      const edge = edges.get(step.name)?.[step.next++];
      if (!edge) {
        done.add(step.name);
        depths.delete(step.name);
        walk.pop();
        continue;
      }
      const { to, at } = edge;
      const depth = depths.get(to);
      if (depth !== undefined) {
        const ring = [...walk.slice(depth).map(({ name }) => name), to].join(' -> ');
        at.problem(`${at.path}: services wait for each other in a ring: ${ring}`);
      } else if (!done.has(to)) {
        depths.set(to, walk.length);
        walk.push({ name: to, next: 0 });
      }
    }
  }
}
