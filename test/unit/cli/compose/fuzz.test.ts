import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadStack } from '../../../../cli/compose/load-stack.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const SEED_FILE = `x-base: &base
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
networks: {front: {driver: overlay}}
volumes: {data: null}
secrets: {key: {external: true}}
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
  '0x1',
  '-1',
  '\r\n',
  'x-a: 1\n',
];

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

function check(text: string): void {
  try {
    loadStack(
      stackRequestOf({ files: { 'f.yml': text } }, { env: {}, readFile: () => Buffer.from('A=1') }),
    );
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    expect(err.problems.length).toBeGreaterThan(0);
    const lines = text.split('\n').length;
    for (const { line, column, length } of err.problems) {
      expect(line).toBeGreaterThanOrEqual(1);
      expect(line).toBeLessThanOrEqual(lines);
      expect(column).toBeGreaterThanOrEqual(1);
      expect(length).toBeGreaterThanOrEqual(1);
    }
  }
}

test('the file that is changed below is a good one', () => {
  expect(() => check(SEED_FILE)).not.toThrow();
});

test('whatever a file holds, it is loaded or its mistakes are told with places', () => {
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => check(apply(edits))),
    { numRuns: 400 },
  );
});

test('text that is no stack file at all is refused likewise', () => {
  fc.assert(fc.property(fc.string({ maxLength: 60 }), check), { numRuns: 200 });
});
