import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseDocument, stringify } from 'yaml';
import type { Key, Shape } from '../../../../cli/compose/keys/key.ts';
import { STACK_FILE } from '../../../../cli/compose/keys/top-keys.ts';
import { loadStack } from '../../../../cli/compose/load-stack.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import type { Stack } from '../../../../cli/compose/stack.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const fixture = (name: string): string =>
  readFileSync(new URL(`../../../fixtures/compose/${name}`, import.meta.url), 'utf8');

const EVERY_KEY = fixture('every-key.yml');
const BESIDE = {
  'app.env': 'A="quoted ${TAG}"\nC=from file\n',
  'labels.env': 'from=file\n',
  'key.txt': 'secret',
  'own.json': '{}',
  'base.yml': 'services:\n  base:\n    image: base:1\n    command: [run]\n',
  'included.env': 'PART=of the whole\n',
  'included.yml': `services:
  part:
    image: part:1
    environment: {PART: "\${PART}"}
    volumes: ["./x:/x"]
`,
};

function load(text: string): Stack {
  const request = stackRequestOf({ files: { 'every-key.yml': text, ...BESIDE } });
  return loadStack({ ...request, profiles: ['full'] }).stack;
}

test('a file with every key becomes the stack that is written down beside it', () => {
  const golden = new URL('../../../fixtures/compose/every-key.expected.yml', import.meta.url);
  return expect(stringify(load(EVERY_KEY))).toMatchFileSnapshot(golden.pathname);
});

/** Every key with an effect, by its path; what users name is `*`, lists leave no trace. */
function effectivePaths(shape: Shape, path: readonly string[] = []): (readonly string[])[] {
  return [
    ...(shape.list ? effectivePaths(shape.list.of, path) : []),
    ...(shape.dict ? effectivePaths(shape.dict.of, [...path, '*']) : []),
    ...Object.entries(shape.map?.keys ?? {}).flatMap(([name, key]: [string, Key]) => {
      const { kind } = key.verdict;
      if (kind === 'ignored' || kind === 'refused') return [];
      const inner = [...path, name];
      return [...(kind === 'section' ? [] : [inner]), ...effectivePaths(key.shape, inner)];
    }),
  ];
}

/** They say what is so anyway. */
const WITHOUT_FIELD = ['version', 'services.*.expose', 'services.*.links'];
/** As plain data has it: the octal modes of the file are decimal numbers there. */
const WHOLE = load(stringify(parseDocument(EVERY_KEY).toJS()));

const paths = effectivePaths(STACK_FILE).map((path) => path.join('.'));

test.each(paths.filter((path) => !WITHOUT_FIELD.includes(path)))('%s has an effect', (path) => {
  const document = parseDocument(EVERY_KEY).toJS() as unknown;
  expect(remove(document, path.split('.')), `no ${path} in every-key.yml`).toBe(true);
  expect(outcome(stringify(document))).not.toEqual(WHOLE);
});

test.each(WITHOUT_FIELD)('%s changes nothing', (path) => {
  const document = parseDocument(EVERY_KEY).toJS() as unknown;
  expect(remove(document, path.split('.'))).toBe(true);
  expect(outcome(stringify(document))).toEqual(WHOLE);
});

/** Takes a key away wherever it stands; false when it stands nowhere. */
function remove(value: unknown, [first = '', ...rest]: readonly string[]): boolean {
  if (Array.isArray(value)) {
    return value.map((item) => remove(item, [first, ...rest])).includes(true);
  }
  if (typeof value !== 'object' || value === null) return false;
  const map = value as Record<string, unknown>;
  if (first === '*')
    return Object.values(map)
      .map((inner) => remove(inner, rest))
      .includes(true);
  if (!(first in map)) return false;
  if (rest.length > 0) return remove(map[first], rest);
  delete map[first];
  return true;
}

function outcome(text: string): unknown {
  try {
    return load(text);
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    return err.message;
  }
}
