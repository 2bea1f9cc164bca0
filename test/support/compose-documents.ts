/** Documents for the tests of stack files: from our tables of keys, and from a JSON schema, mostly as they are to be. */
import fc from 'fast-check';
import type { ScalarShape, Shape } from '../../cli/compose/keys/key.ts';
import { STACK_FILE } from '../../cli/compose/keys/top-keys.ts';
import { resolveSchema, type Schema } from './compose-schemas.ts';

const NAMES = ['a', 'web', 'x-y', 'b.c', 'nofile'];
const WRONG: fc.Arbitrary<unknown> = fc.constantFrom(
  ...[null, 5, -1, 1.5, true, 'text', '', [], {}, ['a', 'a'], ['a'], [1], { unknown: 1 }],
);

/** Mostly what fits the shape, now and then something else. */
function arbitraryOf(shape: Shape, depth = 0): fc.Arbitrary<unknown> {
  const forms: fc.Arbitrary<unknown>[] = [];
  if (shape.any) forms.push(fc.constantFrom<unknown>(1, 'a', [1], { a: [] }));
  if (shape.nullable) forms.push(fc.constant(null));
  if (shape.scalar) forms.push(scalarOf(shape.scalar));
  if (shape.list) forms.push(fc.array(arbitraryOf(shape.list.of, depth + 1), { maxLength: 3 }));
  if (shape.dict) {
    const names = fc.constantFrom(...NAMES.filter((name) => shape.dict?.names?.test(name) ?? true));
    forms.push(fc.dictionary(names, arbitraryOf(shape.dict.of, depth + 1), { maxKeys: 2 }));
  }
  if (shape.map) forms.push(mapOf(shape.map, depth));
  return fc.oneof({ weight: 40, arbitrary: fc.oneof(...forms) }, { weight: 1, arbitrary: WRONG });
}

function scalarOf({ types, words, pattern, least }: ScalarShape): fc.Arbitrary<unknown> {
  const texts = words ?? (pattern ? ['always', 'every_2d', 'ab'] : ['text', 'a b', '5', '']);
  const forms: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    string: fc.constantFrom(...texts),
    integer: fc.constantFrom(0, 7, 50, ...(least === undefined ? [-1] : [])),
    number: fc.constantFrom(0, 1.5, 80),
    boolean: fc.boolean(),
  };
  // Also of types that our tables do not name: they may lack one.
  const any = fc.constantFrom<unknown>('text', 5, 1.5, true);
  return fc.oneof(
    { weight: 15, arbitrary: fc.oneof(...types.map((type) => forms[type]!)) },
    { weight: 1, arbitrary: any },
  );
}

function mapOf(
  { keys, required = [] }: NonNullable<Shape['map']>,
  depth: number,
): fc.Arbitrary<unknown> {
  const needed = Object.fromEntries(
    required.map((name) => [
      name,
      fc.option(arbitraryOf(keys[name]!.shape, depth), { freq: 20, nil: undefined }),
    ]),
  );
  const names = [...Object.keys(keys), 'x-own'];
  const chosen = fc
    .uniqueArray(fc.constantFrom(...names), {
      maxLength: names.length > 40 ? 8 : depth < 2 ? 4 : 2,
    })
    .chain((some) =>
      fc.record(
        Object.fromEntries(
          some.map((name) => [name, keys[name] ? arbitraryOf(keys[name].shape, depth + 1) : WRONG]),
        ),
      ),
    );
  return fc.tuple(fc.record(needed), chosen).map(([first, rest]) => {
    const all = { ...rest, ...first };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  });
}

/** By our tables. */
export const documents = arbitraryOf(STACK_FILE).filter(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
);

/** By a schema, as its draft says: now and then something that it refuses. */
export function documentsOf(schema: Schema): fc.Arbitrary<unknown> {
  return fromSchema(schema, schema, 0);
}

const DEPTH_MAX = 8;

function fromSchema(schema: Schema, root: Schema, depth: number): fc.Arbitrary<unknown> {
  const here = resolveSchema(schema, root);
  const alternatives = [here['oneOf'], here['anyOf']].flatMap((all) => (all ?? []) as Schema[]);
  if (alternatives.length > 0) {
    return fc.oneof(...alternatives.map((one) => fromSchema(one, root, depth + 1)));
  }
  if (here['enum']) return fc.constantFrom(...(here['enum'] as unknown[]));
  const types = [here['type'] ?? ['string', 'integer']].flat() as string[];
  const forms = types.map((type) => ofType(type, here, root, depth));
  return fc.oneof({ weight: 60, arbitrary: fc.oneof(...forms) }, { weight: 1, arbitrary: WRONG });
}

function ofType(type: string, schema: Schema, root: Schema, depth: number): fc.Arbitrary<unknown> {
  switch (type) {
    case 'null':
      return fc.constant(null);
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.constantFrom(0, 7, 80);
    case 'number':
      return fc.constantFrom(0, 1.5, 80);
    case 'array': {
      const items = fromSchema((schema['items'] ?? {}) as Schema, root, depth + 1);
      return schema['uniqueItems']
        ? fc.uniqueArray(items, { maxLength: 2, selector: (item) => JSON.stringify(item) })
        : fc.array(items, { maxLength: 2 });
    }
    case 'object':
      return objectFrom(schema, root, depth);
    default:
      return fc.constantFrom('text', 'a b', '5', '5s');
  }
}

function objectFrom(schema: Schema, root: Schema, depth: number): fc.Arbitrary<unknown> {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>);
  const patterns = Object.entries((schema['patternProperties'] ?? {}) as Record<string, Schema>);
  const required = (schema['required'] ?? []) as readonly string[];
  const named = patterns.flatMap(([pattern, inner]) =>
    [...NAMES, 'x-own']
      .filter((name) => new RegExp(pattern).test(name))
      .map((name) => [name, inner] as const),
  );
  const all = [...properties, ...named];
  if (depth > DEPTH_MAX || all.length === 0) return fc.constant({});
  const some = fc
    .uniqueArray(fc.constantFrom(...all), {
      selector: ([name]) => name,
      maxLength: all.length > 40 ? 8 : depth < 3 ? 4 : 2,
    })
    .map((chosen) => [...chosen, ...all.filter(([name]) => required.includes(name))]);
  return some.chain((chosen) =>
    fc.record(
      Object.fromEntries(chosen.map(([name, one]) => [name, fromSchema(one, root, depth + 1)])),
      { noNullPrototype: true },
    ),
  );
}
