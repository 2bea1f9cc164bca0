/** `extends`: a service is another one, of this or of another file, with its own keys over it. */
import { dirname } from 'node:path';
import type { Environment } from './files.ts';
import { SERVICE } from './keys/top-keys.ts';
import type { LoadContext } from './load-context.ts';
import { mergeValues, settle } from './merge.ts';
import { nearestWord, type Place } from './problems.ts';
import {
  childPath,
  type MapEntry,
  type MapValue,
  mapValue,
  member,
  textOf,
  type Value,
  withEntries,
} from './tree.ts';

/** Steps from a service to the last one that it extends. */
const STEPS_MAX = 100;

interface Wanted {
  readonly service: string;
  readonly servicePlace: Place;
  readonly file: { readonly path: string; readonly place: Place } | null;
}

export class ExtendsResolver {
  readonly #context: LoadContext;
  readonly #env: Environment;
  readonly #earlier: MapValue | null;
  readonly #files = new Map<string, MapValue | null>();

  /** @param earlier what the files before this one declare */
  constructor(context: LoadContext, env: Environment, earlier: MapValue | null) {
    this.#context = context;
    this.#env = env;
    this.#earlier = earlier;
  }

  /** @param path absolute, of the file that `root` is */
  resolve(root: MapValue, path: string): MapValue {
    const services = root.entries.get('services');
    if (services?.value.kind !== 'map') return root;
    const resolved = new Map<string, MapEntry>();
    for (const [name, { keyPlace, value }] of services.value.entries) {
      resolved.set(name, { keyPlace, value: this.#service(root, path, name, value, []) });
    }
    const { keyPlace, value } = services;
    const section = mapValue(value.place, resolved, value.mark);
    return withEntries(root, new Map([['services', { keyPlace, value: section }]]));
  }

  /** @param chain the services that led here, `name` or `file: name` */
  #service(
    root: MapValue,
    path: string,
    name: string,
    value: Value,
    chain: readonly string[],
  ): Value {
    const entry = value.kind === 'map' ? value.entries.get('extends') : undefined;
    if (value.kind !== 'map' || !entry || entry.value.mark === 'reset') return value;
    const rest = new Map(value.entries);
    rest.delete('extends');
    const own = mapValue(value.place, rest, value.mark);
    if (chain.length === 0) {
      const key = childPath(childPath('services', name), 'extends');
      this.#context.consumed.push({ path: key, place: entry.keyPlace });
    }
    const wanted = wantedOf(entry.value);
    if (!wanted) return own;
    const here = `${path}: ${name}`;
    const base = this.#base(root, path, wanted, [...chain, here]);
    if (!base) return own;
    return mergeValues(
      settle(base),
      own,
      SERVICE,
      (fact) => this.#context.replaced.push(fact),
      childPath('services', name),
    );
  }

  #base(
    root: MapValue,
    path: string,
    { service, servicePlace, file }: Wanted,
    chain: readonly string[],
  ): Value | null {
    const otherPath = file?.path ?? path;
    const there = `${otherPath}: ${service}`;
    if (chain.includes(there)) {
      const ring = [...chain.slice(chain.indexOf(there)), there].map((step) => step.split(': ')[1]);
      this.#problem(servicePlace, `services extend each other in a ring: ${ring.join(' -> ')}`);
      return null;
    }
    if (chain.length > STEPS_MAX) {
      this.#problem(servicePlace, `services extend each other over more than ${STEPS_MAX} steps`);
      return null;
    }
    const other = file ? this.#file(file.path, file.place) : root;
    if (!other) return null;
    const own = member(other, 'services');
    const earlier = file ? undefined : member(this.#earlier ?? undefined, 'services');
    const found = member(own, service) ?? member(earlier, service);
    if (found) return this.#service(other, otherPath, service, found, chain);
    const known = [own, earlier].flatMap((map) =>
      map?.kind === 'map' ? [...map.entries.keys()] : [],
    );
    const near = nearestWord(service, known);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    this.#problem(servicePlace, `there is no service "${service}" to extend${hint}`);
    return null;
  }

  #file(path: string, place: Place): MapValue | null {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const source = this.#context.open(path, place);
    const parsed = source && this.#context.parse(source, dirname(path), this.#env);
    this.#files.set(path, parsed);
    return parsed;
  }

  #problem(place: Place, message: string): void {
    this.#context.findings.problem(place, message);
  }
}

/** `extends: name` or `extends: {service, file}`; null when its mistake was told already. */
function wantedOf(value: Value): Wanted | null {
  const inner = value.kind === 'map' ? member(value, 'service') : value;
  const service = textOf(inner);
  if (!inner || service === undefined) return null;
  const file = member(value, 'file');
  const path = textOf(file);
  return {
    service,
    servicePlace: inner.place,
    file: file && path !== undefined ? { path, place: file.place } : null,
  };
}
