import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { conform } from '../../../../cli/compose/conform.ts';
import type { Shape } from '../../../../cli/compose/keys/key.ts';
import { STACK_FILE } from '../../../../cli/compose/keys/top-keys.ts';
import { parseStackText } from '../../../../cli/compose/parse.ts';
import { type Problem, SourceText } from '../../../../cli/compose/problems.ts';
import { Findings } from '../../../../cli/compose/tree.ts';
import { documents, documentsOf } from '../../../support/compose-documents.ts';
import { officialSchemas, resolveSchema, type Schema } from '../../../support/compose-schemas.ts';

/** `SKEP_PROOFS=full` looks into many more documents. */
const TIMES = process.env['SKEP_PROOFS'] === 'full' ? 10 : 1;
const LIMIT = { timeout: 30_000 * TIMES };

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

  test('what the specification accepts we accept, what it refuses we refuse', LIMIT, () => {
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
      { numRuns: 1500 * TIMES },
    );
    // A generator that makes one kind only would prove nothing.
    expect(Math.min(accepted, refused)).toBeGreaterThan(200);
  });

  // Every version is read as the same format, which has keys that an old one lacks: of what that refuses, those are taken.
  test.each([...SCHEMAS.keys()].filter((name) => name.startsWith('3.')))(
    '%s: what it accepts we accept, what it and the specification refuse we refuse',
    LIMIT,
    (version) => {
      const accepts = validatorOf(SCHEMAS.get(version)!);
      const isSpecified = specification();
      let accepted = 0;
      let refused = 0;
      fc.assert(
        fc.property(documentsOf(SCHEMAS.get(version)!), (document) => {
          if (document === null) return; // a file without anything in it has no keys to judge
          if (!accepts(document)) {
            if (isSpecified(document)) return;
            refused++;
            expect(problemsOf(document), JSON.stringify(document)).not.toEqual([]);
            return;
          }
          accepted++;
          const problems = problemsOf(document).filter(
            ({ message }) => !NEWER_RULES.some((rule) => rule.test(message)),
          );
          expect({ document, problems }).toEqual({ document, problems: [] });
        }),
        { numRuns: 150 * TIMES },
      );
      expect(accepted).toBeGreaterThan(60);
      expect(refused).toBeGreaterThan(0);
    },
  );
});

/** The specification, with the one key that only versions 3.9 and later of the old format have. */
function specification(): (document: unknown) => boolean {
  const schema = structuredClone(SCHEMAS.get('compose-spec')) as {
    definitions: { service: { properties: Record<string, unknown> } };
  };
  schema.definitions.service.properties['cgroupns_mode'] = { type: 'string' };
  return validatorOf(schema);
}

/** Without the names of drafts and parts, which ajv would look for, and without formats: they are judged elsewhere. */
function validatorOf(schema: object): (document: unknown) => boolean {
  const names = ['$schema', '$id', 'id'];
  const plain: unknown = JSON.parse(JSON.stringify(schema), (name, value: unknown) =>
    names.includes(name) && typeof value === 'string' ? undefined : value,
  );
  return new Ajv({ strict: false, validateFormats: false }).compile(plain as object);
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

/** Of the specification alone: docker takes these by the old schemas, and stumbles over all but the first later on. */
const NEWER_RULES = [
  /\.extra_hosts\.\S+ must be a string or a list/,
  /\.container_name must match/,
  /\.volumes\.\d+\.type must be one of/,
  /\.volumes\.\d+ is the same as/,
  // Old schemas leave these mappings open, some of them since one version only; what stands there would be dropped in silence.
  /^unknown key '\S+' in services\..*\.(?:build|(?:secrets|configs)\.\d+|volumes\.\d+\.(?:bind|volume|tmpfs))\b/,
];

function problemsOf(document: unknown): readonly Problem[] {
  const findings = new Findings();
  const value = parseStackText(new SourceText('f.yml', stringify(document)));
  if (value) conform(value, STACK_FILE, { dir: '/', home: '/' }, findings);
  return findings.problems;
}
