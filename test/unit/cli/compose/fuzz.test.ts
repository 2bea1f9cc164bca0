import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lintStack, loadStack } from '../../../../cli/compose/load-stack.ts';
import { type Problem, StackFileError } from '../../../../cli/compose/problems.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const SEED_FILE = `include: [more.yml]
x-base: &base
  image: base:1
  environment: {A: "\${V:-1}"}
services:
  web:
    <<: *base
    command: ["run", 'it']
    ports: ["8080:80", {target: 5, published: 6}]
    volumes: [data:/data, {type: tmpfs, target: /t}]
    deploy:
      replicas: 2
      resources: {limits: {cpus: "0.5", memory: 64M}}
      update_config:
        delay: 10s
    healthcheck:
      test: |
        curl x
    networks:
      front: {aliases: [www]}
    secrets: [key]
  job:
    extends: {file: lib.yml, service: base}
    depends_on: {web: {condition: service_healthy}}
    profiles: []
    build: {context: ., args: [a=b]}
    env_file: [{path: key.txt, format: dotenv}]
    ports: !override ["2:2"]
    logging: {driver: json-file}
networks: {front: {driver: overlay}}
volumes: {data: null}
secrets: {key: {external: true}}
configs: {c: {content: "a\${X:-\${Y}}b"}, f: {file: key.txt}}
`;

/** Pieces that change the meaning of what stands around them. */
const SPLINTERS = [
  ...'\t\n :-[]{}&*!|>%@`"\'#,?$~',
  '\u00a0',
  '<<: ',
  '*base',
  '&base ',
  '${',
  '${A:-${B}}',
  'null',
  '!!map ',
  '--- ',
  '!reset ',
  '!override ',
  'extends: web\n',
  '${A:?}',
  '0x1',
  '-1',
  '\r\n',
  'x-a: 1\n',
];

/** `SKEP_PROOFS=full` looks into many more. */
const RUNS = process.env['SKEP_PROOFS'] === 'full' ? 4_000 : 120;
const LIMIT_MS = Math.max(30_000, RUNS * 500);

const edit = fc.record({
  at: fc.nat(SEED_FILE.length),
  remove: fc.nat(12),
  insert: fc.oneof(fc.constantFrom(...SPLINTERS, ''), fc.string({ maxLength: 6 })),
});

function apply(edits: readonly { at: number; remove: number; insert: string }[]): string {
  return edits.reduce(
    (text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove),
    SEED_FILE,
  );
}

/** Files that the fuzzed one may name. */
const BESIDE = {
  'key.txt': 'A=1',
  'lib.yml': 'services: {base: {image: base, ports: ["1:1"]}}\n',
  'more.yml': 'volumes: {more: {}}\n',
};

function check(text: string): void {
  for (const fixWhitespace of [false, true]) {
    const files = { 'f.yml': text, ...BESIDE };
    const request = stackRequestOf({ files }, { env: {}, fixWhitespace });
    const loaded = problemsOf(() => loadStack(request));
    const linted = problemsOf(() => {
      const { problems } = lintStack(request);
      if (problems.length > 0) throw new StackFileError(problems);
    });
    const lines = text.split('\n').length;
    for (const { source, line, column, length } of [...loaded, ...linted]) {
      expect(line).toBeGreaterThanOrEqual(1);
      expect(line).toBeLessThanOrEqual(source.path === 'f.yml' ? lines : 2);
      expect(column).toBeGreaterThanOrEqual(1);
      expect(length).toBeGreaterThanOrEqual(1);
    }
  }
}

/** Anything but a `StackFileError` with problems is a fault of ours. */
function problemsOf(work: () => unknown): readonly Problem[] {
  try {
    work();
    return [];
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    expect(err.problems.length).toBeGreaterThan(0);
    return err.problems;
  }
}

test('the file that is changed below is a good one', () => {
  expect(() => check(SEED_FILE)).not.toThrow();
});

test('whatever a file holds, it is loaded or its mistakes are told with places', {
  timeout: LIMIT_MS,
}, () => {
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => check(apply(edits))),
    { numRuns: RUNS },
  );
});

test('text that is no stack file at all is refused likewise', { timeout: LIMIT_MS }, () => {
  fc.assert(fc.property(fc.string({ maxLength: 60 }), check), { numRuns: RUNS });
});
