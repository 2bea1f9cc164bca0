import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDocument, stringify } from 'yaml';
import { type LoadedStack, loadStack, loadStackModel } from '../../../../cli/compose/load-stack.ts';
import { printModel } from '../../../../cli/compose/print.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import type { StackRequest } from '../../../../cli/compose/stack.ts';
import { plain } from '../../../../cli/compose/tree.ts';
import { documents } from '../../../support/compose-documents.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

/** `SKEP_PROOFS=full` looks into many more. */
const RUNS = process.env['SKEP_PROOFS'] === 'full' ? 3_200 : 400;
const LIMIT = { timeout: Math.max(30_000, RUNS * 300) };

const PLAIN = { escapeDollars: true, origins: false };

const request = (text: string, change: Partial<StackRequest> = {}): StackRequest =>
  stackRequestOf({ files: { 'f.yml': text, 'key.txt': 'secret', 'v.env': 'A=1\n' } }, change);

/** What is printed is read elsewhere: nothing in it may depend on the directory. */
const again = (text: string): StackRequest => ({ ...request(text), dir: '/elsewhere' });

const printed = (text: string): string => printModel(loadStackModel(request(text)).model, PLAIN);

test('is merged, with variables filled in and paths absolute', () => {
  const text = `x-common: &common {restart: always}
services:
  web:
    <<: *common
    image: "web:\${TAG}"
    command: [sh, -c, "echo $$HOME"]
    volumes: ["./a:/a", "v:/v"]
    environment: {N: 1.0, Y: "yes", E: "", X: }
volumes: {v: }
`;
  expect(printed(text)).toBe(`x-common:
  restart: always
services:
  web:
    image: web:2
    command:
      - sh
      - -c
      - echo $$HOME
    volumes:
      - /src/a:/a
      - v:/v
    environment:
      "N": 1.0
      "Y": "yes"
      E: ""
      X: null
    restart: always
volumes:
  v: null
`);
});

test('with origins it says where each value came from', () => {
  const files = {
    'a.yml': 'services:\n  web: {image: web, user: me}\n',
    'b.yml': 'services:\n  web:\n    user: you\n',
  };
  const { model } = loadStackModel(stackRequestOf({ files, named: ['a.yml', 'b.yml'] }));
  expect(printModel(model, { ...PLAIN, origins: true })).toBe(`services:
  web:
    image: web # a.yml:2:16
    user: you # b.yml:3:11
`);
});

test('without interpolation variables stay as they are written', () => {
  const text = 'services:\n  web:\n    image: web:${TAG:-1}\n    command: echo $$\n';
  const { model } = loadStackModel(request(text, { interpolate: false }));
  expect(printModel(model, { escapeDollars: false, origins: false })).toBe(text);
});

const BESIDE = {
  'key.txt': 's',
  'app.env': 'A=1\n',
  'labels.env': 'a=b\n',
  'own.json': '{}',
};
const everyKey = readFileSync(
  new URL('../../../fixtures/compose/every-key.yml', import.meta.url),
  'utf8',
)
  .replace(/^include:\n(?: .*\n)+/m, '')
  .replace(/ {2}extended:\n(?: {4}.*\n)+/, '');
const withFiles = (text: string, dir = '/src'): StackRequest => ({
  ...stackRequestOf({ files: { 'f.yml': text, ...BESIDE } }),
  profiles: ['full'],
  dir,
});

test('the file with every key is the same stack when it is printed', () => {
  const { stack, model } = loadStack(withFiles(everyKey));
  expect(loadStack(withFiles(printModel(model, PLAIN), '/elsewhere')).stack).toEqual(stack);
});

/** Texts that YAML, variables, or both could take for something else. */
const texts = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc
    .string({ unit: 'binary', maxLength: 6 })
    .filter(
      (text) =>
        !/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufeff\ud800-\udfff\ufffe\uffff]/.test(text),
    ),
  fc.constantFrom(
    ...[
      '',
      ' a',
      'a ',
      '- a',
      '? a',
      ': a',
      'a: b',
      'a #b',
      '#',
      '~',
      'null',
      'yes',
      'No',
      'on',
      '0o7',
    ],
    ...[
      '0440',
      '1.0',
      '.5',
      '1e3',
      '0x1f',
      '+1',
      '-',
      '--',
      '---',
      '...',
      '<<',
      '=',
      '*a',
      '&a',
      '!t',
    ],
    ...[
      '%a',
      '@a',
      '`a',
      '|',
      '>',
      '"',
      "'",
      'a"b',
      "it's",
      '{a}',
      '[a',
      'a,b',
      'a\nb',
      'a\n',
      '\n',
    ],
    ...[
      'a\n\nb\n\n',
      '  a\n b',
      '\ta',
      'a\tb',
      '$a',
      '$$',
      '${a}',
      '2026-11-28',
      '12:30:45',
      '1_000',
      'é\u00a0',
    ],
    ...['.inf', '-.INF', '.nan', 'true', 'FALSE'],
  ),
);

const stackFiles = fc
  .record({
    environment: fc.dictionary(
      texts.filter((name) => name !== '' && name !== '__proto__'),
      texts,
      {
        maxKeys: 4,
      },
    ),
    labels: fc.array(texts, { maxLength: 3 }).map((all) => [...new Set(all)]),
    command: fc.oneof(fc.array(texts, { maxLength: 3 }), fc.constant(null)),
    content: texts,
    replicas: fc.nat(9),
    extension: fc.anything({ maxDepth: 2, withNullPrototype: false }),
  })
  .map(({ environment, labels, command, content, replicas, extension }) => {
    const escaped = (text: string): string => text.replaceAll('$', '$$$$');
    const values = Object.entries(environment).map(([key, text]) => [key, escaped(text)]);
    return JSON.stringify({
      'x-own': JSON.parse(JSON.stringify(extension ?? null) ?? 'null') as unknown,
      services: {
        web: {
          image: 'web',
          environment: Object.fromEntries(values) as unknown,
          labels: labels.map(escaped),
          command: command?.map(escaped) ?? null,
          configs: ['c'],
          deploy: { replicas },
        },
      },
      configs: { c: { content: escaped(content) } },
    });
  });

describe('load(print(load(f))) is load(f)', () => {
  test('for texts of every kind', LIMIT, () => {
    fc.assert(
      fc.property(stackFiles, (text) => {
        const first = loadStack(request(text));
        const print = printModel(first.model, PLAIN);
        const second = loadStack(again(print));
        expect(second.stack, print).toEqual(first.stack);
        expect(plain(second.model), print).toEqual(plain(first.model));
        // What is printed once more is the same text.
        expect(printModel(second.model, PLAIN)).toBe(print);
      }),
      { numRuns: RUNS / 2 },
    );
  });
});

describe('load(print(load(f))) is load(f) over the whole schema', () => {
  /** What is printed of `text`, printed again from what it is read as. */
  function expectSame(text: string, dir: string): void {
    const first = loadStackModel(withFiles(text, dir));
    const print = printModel(first.model, PLAIN);
    const second = loadStackModel(withFiles(print, '/elsewhere'));
    expect(plain(second.model), print).toEqual(plain(first.model));
    expect(printModel(second.model, PLAIN)).toBe(print);
  }

  test('for documents of any keys, whatever their values mean', LIMIT, () => {
    let printed = 0;
    fc.assert(
      fc.property(documents, (document) => {
        const { include: _, ...rest } = document as Record<string, unknown>;
        const text = stringify(rest);
        try {
          loadStackModel(withFiles(text));
        } catch (err) {
          if (err instanceof StackFileError) return;
          throw err;
        }
        printed++;
        expectSame(text, '/src');
      }),
      { numRuns: RUNS },
    );
    expect(printed).toBeGreaterThan(80);
  });

  test('for parts of the file with every key, as the stack that they are', LIMIT, () => {
    let converted = 0;
    fc.assert(
      fc.property(partsOf(parseDocument(everyKey).toJS() as { services: object }), (document) => {
        const text = stringify(document);
        expectSame(text, '/src');
        let loaded: LoadedStack;
        try {
          loaded = loadStack(withFiles(text));
        } catch (err) {
          if (err instanceof StackFileError) return;
          throw err;
        }
        converted++;
        const { stack, model } = loaded;
        expect(loadStack(withFiles(printModel(model, PLAIN), '/elsewhere')).stack).toEqual(stack);
      }),
      { numRuns: RUNS / 4 },
    );
    expect(converted).toBeGreaterThan(20);
  });
});

/** Each service with some of its keys, and with its image. */
function partsOf(document: { readonly services: object }): fc.Arbitrary<object> {
  const services = Object.entries(document.services).map(([name, service]) => {
    const { image, ...others } = service as Readonly<Record<string, unknown>>;
    return fc
      .subarray(Object.entries(others))
      .map((kept) => [name, { image, ...Object.fromEntries(kept) }] as const);
  });
  return fc.tuple(...services).map((some) => ({ ...document, services: Object.fromEntries(some) }));
}

test('a model that was refused is never printed', () => {
  expect(() => printed('services: {web: {imag: x}}')).toThrow(StackFileError);
});
