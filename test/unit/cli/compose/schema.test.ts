import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { conform } from '../../../../cli/compose/conform.ts';
import type { ScalarShape, Shape } from '../../../../cli/compose/keys/key.ts';
import { STACK_FILE } from '../../../../cli/compose/keys/top-keys.ts';
import { parseStackText } from '../../../../cli/compose/parse.ts';
import { SourceText } from '../../../../cli/compose/problems.ts';
import { Findings } from '../../../../cli/compose/tree.ts';
import { officialSchemas, resolveSchema, type Schema } from '../../../support/compose-schemas.ts';

const SCHEMAS = officialSchemas();
const ABSENT = SCHEMAS.size === 0;

/** Each key of a schema that our tables lack, or whose form they would not take. */
function gaps(schema: Schema, root: Schema, shape: Shape | undefined, path: string): string[] {
  const here = resolveSchema(schema, root);
  if (!shape) return [`${path}: no such key`];
  if (shape.any) return [];
  const alternatives = [here['oneOf'], here['anyOf']].flatMap((all) => (all ?? []) as Schema[]);
  if (alternatives.length > 0) {
    return alternatives.flatMap((one) => gaps(one, root, shape, path));
  }
  const types = [here['type'] ?? []].flat() as string[];
  return types.flatMap((type) => typeGaps(type, here, root, shape, path));
}

function typeGaps(
  type: string,
  schema: Schema,
  root: Schema,
  shape: Shape,
  path: string,
): string[] {
  switch (type) {
    case 'null':
      return shape.nullable ? [] : [`${path}: null`];
    case 'array': {
      if (!shape.list) return [`${path}: a list`];
      const items = schema['items'] as Schema | undefined;
      return items ? gaps(items, root, shape.list.of, `${path}[]`) : [];
    }
    case 'object':
      return objectGaps(schema, root, shape, path);
    default: {
      const taken = shape.scalar?.types as readonly string[] | undefined;
      const fits = taken?.includes(type) || (type === 'integer' && taken?.includes('number'));
      return fits ? [] : [`${path}: ${type}`];
    }
  }
}

function objectGaps(schema: Schema, root: Schema, shape: Shape, path: string): string[] {
  if (!shape.map && !shape.dict) return [`${path}: a mapping`];
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>);
  const patterns = Object.entries((schema['patternProperties'] ?? {}) as Record<string, Schema>);
  return [
    ...properties.flatMap(([name, inner]) =>
      gaps(inner, root, shape.map?.keys[name]?.shape ?? shape.dict?.of, `${path}.${name}`),
    ),
    ...patterns
      .filter(([pattern]) => pattern !== '^x-')
      .flatMap(([, inner]) => gaps(inner, root, shape.dict?.of, `${path}.*`)),
  ];
}

describe.skipIf(ABSENT)('the official schemas (../shared/reference/compose-schema)', () => {
  test.each([...SCHEMAS])('%s: each key is in our tables, with each of its forms', (_, schema) => {
    // The old schemas take any scalar for the address of a host.
    const found = gaps(schema, schema, STACK_FILE, '').filter(
      (gap) => !/extra_hosts\.\*: (?:number|null)$/.test(gap),
    );
    expect(found).toEqual([]);
  });

  test('no key of our tables is unknown to all of them', () => {
    const known = new Set([...SCHEMAS.values()].flatMap((schema) => schemaPaths(schema, schema)));
    expect(shapePaths(STACK_FILE).filter((path) => !known.has(path))).toEqual([]);
  });

  test('what the specification accepts we accept, what it refuses we refuse', () => {
    const accepts = specification();
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(documents, (document) => {
        const expected = accepts(document);
        if (expected) accepted++;
        else refused++;
        expect({ document, problems: problemsOf(document).length === 0 }).toEqual({
          document,
          problems: expected,
        });
      }),
      { numRuns: 1500 },
    );
    // A generator that makes one kind only would prove nothing.
    expect(Math.min(accepted, refused)).toBeGreaterThan(200);
  });
});

/** The specification, with the one key that only versions 3.9 and later of the old format have. */
function specification(): (document: unknown) => boolean {
  const schema = structuredClone(SCHEMAS.get('compose-spec')) as {
    $schema?: string;
    $id?: string;
    definitions: { service: { properties: Record<string, unknown> } };
  };
  delete schema.$schema;
  delete schema.$id;
  schema.definitions.service.properties['cgroupns_mode'] = { type: 'string' };
  return new Ajv({ strict: false }).compile(schema);
}

function schemaPaths(schema: Schema, root: Schema, path = ''): string[] {
  const here = resolveSchema(schema, root);
  const inner = (one: unknown, at: string): string[] =>
    typeof one === 'object' && one !== null ? schemaPaths(one as Schema, root, at) : [];
  const alternatives = [here['oneOf'], here['anyOf']].flatMap((all) => (all ?? []) as Schema[]);
  const properties = Object.entries((here['properties'] ?? {}) as Record<string, Schema>);
  const patterns = Object.values((here['patternProperties'] ?? {}) as Record<string, Schema>);
  return [
    path,
    ...alternatives.flatMap((one) => inner(one, path)),
    ...properties.flatMap(([name, one]) => inner(one, `${path}.${name}`)),
    ...patterns.flatMap((one) => inner(one, `${path}.*`)),
    ...inner(here['items'], path),
  ];
}

function shapePaths(shape: Shape, path = ''): string[] {
  return [
    ...(shape.list ? shapePaths(shape.list.of, path) : []),
    ...(shape.dict ? shapePaths(shape.dict.of, `${path}.*`) : []),
    ...Object.entries(shape.map?.keys ?? {}).flatMap(([name, key]) => [
      `${path}.${name}`,
      ...shapePaths(key.shape, `${path}.${name}`),
    ]),
  ];
}

function problemsOf(document: unknown): readonly unknown[] {
  const findings = new Findings();
  const value = parseStackText(new SourceText('f.yml', stringify(document)));
  if (value) conform(value, STACK_FILE, { dir: '/', home: '/' }, findings);
  return findings.problems;
}

// ---- documents -----------------------------------------------------------------------------------

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

const documents = arbitraryOf(STACK_FILE).filter(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
);
