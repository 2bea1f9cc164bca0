/** `profiles`: a service that has some is deployed only when one of them is asked for. */
import type { Fact } from './judge.ts';
import { type MapEntry, type MapValue, mapValue, member, textOf, withEntries } from './tree.ts';

const ALL = '*';

export interface ActiveModel {
  readonly model: MapValue;
  /** one for each service that is left out */
  readonly facts: readonly Fact[];
}

export function activeServices(model: MapValue, asked: readonly string[]): ActiveModel {
  const services = model.entries.get('services');
  if (services?.value.kind !== 'map') return { model, facts: [] };
  const facts: Fact[] = [];
  const active = new Map<string, MapEntry>();
  for (const [name, entry] of services.value.entries) {
    const own = member(entry.value, 'profiles');
    const profiles = own?.kind === 'list' ? own.items.map((item) => textOf(item) ?? '') : [];
    const wanted =
      profiles.length === 0 || asked.includes(ALL) || profiles.some((one) => asked.includes(one));
    if (wanted) active.set(name, entry);
    else {
      facts.push({
        path: `services.${name}`,
        place: entry.keyPlace,
        kind: 'mapped',
        text: `nothing: none of its profiles is asked for (${profiles.join(', ')})`,
      });
    }
  }
  if (facts.length === 0) return { model, facts };
  const section = mapValue(services.value.place, active, services.value.mark);
  const changes = new Map([['services', { keyPlace: services.keyPlace, value: section }]]);
  return { model: withEntries(model, changes), facts };
}
