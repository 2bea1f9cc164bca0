import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { findOddBlanks, mendBlanks } from '../../../../cli/compose/blanks.ts';
import { loadStack } from '../../../../cli/compose/load-stack.ts';
import { SourceText, StackFileError } from '../../../../cli/compose/problems.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

function load(text: string, fixWhitespace = false) {
  return loadStack(stackRequestOf({ files: { 'f.yml': text } }, { fixWhitespace }));
}

function errorOf(text: string): StackFileError {
  try {
    load(text);
  } catch (err) {
    if (err instanceof StackFileError) return err;
    throw err;
  }
  throw new Error('the file was accepted');
}

const broken = (name: string): string =>
  readFileSync(new URL(`../../../fixtures/compose/broken/${name}.yml`, import.meta.url), 'utf8');

/** The mistakes of the files that courses print. */
describe('files as they are copied from books', () => {
  test('no-break spaces are named, from the first one on, with what to do about them', () => {
    const err = errorOf(broken('no-break-spaces'));
    expect(err.message.split('\n').slice(0, 3)).toEqual([
      'f.yml:4:1: no-break space (U+00A0) used as indentation: YAML takes spaces only (--fix-whitespace reads it as spaces)',
      '  4 |   db:',
      '    | ^^',
    ]);
    expect(err.problems).toHaveLength(14);
  });

  test('with --fix-whitespace they are read, and it is told what was read differently', () => {
    const { stack, warnings } = load(broken('no-break-spaces'), true);
    expect(stack.services.map(({ key }) => key)).toEqual(['db', 'site']);
    expect(stack.services[1]!.spec.EndpointSpec?.Ports).toMatchObject([{ PublishedPort: 8080 }]);
    expect(warnings.filter((line) => line.includes('is read as'))).toHaveLength(14);
    expect(warnings[0]).toBe(
      'f.yml:4:1: no-break space (U+00A0) as indentation is read as 2 spaces',
    );
  });

  test('a pair of which both halves are quoted', () => {
    expect(errorOf(broken('quoted-ports')).message).toBe(
      `f.yml:22:15: two quoted texts with ":" between them: quote the pair as a whole, "80:80"
  22 |       -   "80":"80"
     |               ^^^^^`,
    );
  });

  test('a key that stands one blank off, far down', () => {
    expect(errorOf(broken('indentation')).message).toBe(
      `f.yml:133:1: this line is not indented like the ones it belongs to
  133 |  networks:
      | ^^^^^^^^^`,
    );
  });

  test('once the pair is quoted as a whole, the file is deployed as it was meant', () => {
    const { stack, warnings } = load(broken('quoted-ports').replace('"80":"80"', '"80:80"'));
    expect(stack.services.map(({ key }) => key)).toEqual(['blog', 'db']);
    expect(stack.services[0]!.spec).toMatchObject({
      TaskTemplate: { ContainerSpec: { Mounts: [{ Source: 'shop_web_data' }] } },
      EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] },
    });
    expect(warnings).toEqual([]);
  });

  test('once the key stands in its column, the file is deployed as it was meant', () => {
    const { stack, warnings } = load(broken('indentation').replace('\n networks:', '\nnetworks:'));
    expect(stack.services.map(({ key }) => key)).toEqual(
      Array.from({ length: 22 }, (_, at) => `worker${at}`).sort(),
    );
    // The last service names no network, and is in the stack's own.
    expect(stack.networks).toMatchObject([
      { Name: 'shop_back', Driver: 'overlay' },
      { Name: 'shop_default' },
    ]);
    expect(warnings).toEqual([
      'f.yml:132:3: volumes.data has no effect: no service uses it: it is not made',
    ]);
  });
});

describe('odd blanks', () => {
  const found = (text: string) =>
    findOddBlanks(new SourceText('f', text)).map(
      ({ line, column, length, where }) => `${line}:${column}+${length} ${where}`,
    );

  test.each([
    ['a tab', 'a:\n\tb: 1\n', ['2:1+1 indentation']],
    ['a tab after spaces', 'a:\n  \t b: 1\n', ['2:3+2 indentation']],
    ['after a colon', 'a:\u00a0b\n', ['1:3+1 separation']],
    ['after a dash', '-\u00a0 b\n', ['1:2+2 separation']],
    ['after a dash and a key', '- "a":\u00a0b\n', ['1:7+1 separation']],
    ['a tab after a colon, as YAML allows', 'a:\tb\n', []],
    ['within a value', 'a: b\u00a0c\n', []],
    ['before a comment', '\u00a0# a\n', []],
    ['a line of nothing else', 'a: 1\n\u00a0\t\nb: 2\n', []],
    ['within a block text', 'a: |\n  x\n  \ty\n    \u00a0z\nb: 1\n', []],
    ['after a block text', 'a: |\n  x\n\u00a0b: 1\n', ['3:1+1 indentation']],
  ])('%s', (_, text, expected) => expect(found(text)).toEqual(expected));

  test.each([
    [
      'a tab goes to the next step of the file',
      'a:\n    b: 1\nc:\n\td: 1\n',
      'a:\n    b: 1\nc:\n    d: 1\n',
    ],
    ['of a file without any, two', 'a:\n\tb:\n\t\tc: 1\n', 'a:\n  b:\n    c: 1\n'],
    ['other blanks are one space each', 'a:\n\u00a0\u3000b:\u00a01\n', 'a:\n  b: 1\n'],
    ['nothing odd, nothing changed', 'a: b\u00a0c\n', 'a: b\u00a0c\n'],
  ])('mended: %s', (_, text, expected) => {
    const { text: mended, notes } = mendBlanks(new SourceText('f', text));
    expect(mended).toBe(expected);
    expect(notes.length > 0).toBe(mended !== text);
    expect(findOddBlanks(new SourceText('f', mended))).toEqual([]);
  });
});

describe('mistakes of form', () => {
  const places = (text: string): string[] =>
    errorOf(text).problems.map(({ line, column, message }) => `${line}:${column} ${message}`);

  test.each([
    [
      'an alias without an anchor',
      'services:\n  a: *b\n',
      '2:6 no anchor &b stands before this alias',
    ],
    [
      'an alias within its own anchor',
      'services: &s\n  a: *s\n',
      '2:6 alias *s stands within its own anchor',
    ],
    ['a tag of nobody', 'services: !own {}\n', '1:11 unresolved tag: !own'],
    ['a merge of a text', 'services:\n  a: {<<: x, image: a}\n', '2:7 << must name a mapping'],
    ['a key that is no word', 'services:\n  [a]: {image: a}\n', '2:3 a key must be a plain word'],
    [
      'a second document',
      'a: 1\n---\nb: 1\n',
      '2:1 a stack file is one document: this begins a second one',
    ],
    ['a quote that is not closed', 'a: "b\nc: 1\n', '1:4 this " is not closed'],
    [
      'an empty key where something must be',
      'services:\n  a:\n    image: a\n    environment:\n',
      '4:5 services.a.environment must be a list or a mapping: it is empty',
    ],
    [
      'a number where a text must be',
      'services:\n  a: {image: a, hostname: 5}\n',
      '2:27 services.a.hostname must be a string: got "5"; in quotes it is a text: "5"',
    ],
    [
      'a number where a length of time must be',
      'services:\n  a: {image: a, stop_grace_period: 5}\n',
      '2:36 services.a.stop_grace_period must be a string: got "5"; with its unit: 5s',
    ],
    [
      'a version without quotes',
      'version: 3\nservices: {a: {image: a}}\n',
      '1:10 version must be a string: got "3"; in quotes it is a text: "3"',
    ],
    [
      'a version of a format that is gone',
      'version: "1"\nservices: {a: {image: a}}\n',
      '1:10 unsupported version "1" of the format: leave the key out',
    ],
    [
      'the same thing twice in a set',
      'services:\n  a: {image: a, cap_add: [X, Y, X]}\n',
      '2:33 services.a.cap_add.2 is the same as services.a.cap_add.0',
    ],
    [
      'a service at the top level, as files of version 1 have it',
      'web: {image: web}\nservices: {a: {image: a}}\n',
      "1:1 unknown key 'web' at the top level: services stand under the key services",
    ],
    [
      'a name that cannot be one',
      'services:\n  a b: {image: a}\n',
      "2:3 services: 'a b' cannot be a name here: names match ^[a-zA-Z0-9._-]+$",
    ],
    [
      'a word of none of the known ones',
      'services:\n  a: {image: a, deploy: {update_config: {order: start-frist}}}\n',
      '2:49 services.a.deploy.update_config.order must be one of start-first, stop-first: got "start-frist"; did you mean start-first?',
    ],
    [
      'a constraint that is none',
      'services:\n  a: {image: a, deploy: {placement: {constraints: [node.role]}}}\n',
      expect.stringMatching(/^2:52 services.a.deploy.placement.constraints.0: /),
    ],
    [
      'one port of a range, which nobody can choose',
      'services:\n  a: {image: a, ports: [{target: 80, published: "8000-8010"}]}\n',
      '2:49 services.a.ports.0.published must be one port: a range is written in the short form',
    ],
    [
      'two limits that differ',
      'services:\n  a: {image: a, mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}}\n',
      '2:28 services.a.mem_limit and deploy.resources say two different things',
    ],
    [
      'a host without an address',
      'services:\n  a: {image: a, extra_hosts: ["x:host-gateway"]}\n',
      '2:31 services.a.extra_hosts.0: "host-gateway" is no IP address',
    ],
    [
      'a refused key',
      'services:\n  a: {image: a, volumes_from: [b]}\n',
      '2:17 services.a.volumes_from is refused: tasks share data by a named volume that both mount (--ignore-refused goes on without it)',
    ],
  ])('%s', (_, text, expected) => {
    expect(places(text)).toEqual([expected]);
  });

  test('aliases that multiply are stopped at a bound', () => {
    const lines = Array.from({ length: 30 }, (_, index) =>
      index === 0 ? 'x-0: &a0 [1, 1]' : `x-${index}: &a${index} [*a${index - 1}, *a${index - 1}]`,
    );
    expect(places(lines.join('\n'))).toEqual([
      expect.stringMatching(/more than 300000 values once every alias is followed$/),
    ]);
  });

  const nested = (count: number, open: string, close: string): string =>
    open.repeat(count) + close.repeat(count);
  const chain = (count: number, key: string): string =>
    Array.from({ length: count }, (_, at) => `  s${at}: {image: a, ${key}: s${at + 1}}\n`).join('');

  test.each([
    ['lists', `a: ${nested(5000, '[', ']')}`, /values are nested too deeply$/],
    ['mappings', `a: ${nested(5000, '{a: ', '}')}`, /values are nested too deeply$/],
    [
      'variables',
      `services: {a: {image: "${nested(5000, '\u0024{A:-', '}')}"}}`,
      /variables are nested more than 100 deep; /,
    ],
    [
      'services',
      `services:\n${chain(200, 'extends')}  s200: {image: a}\n`,
      /services extend each other over more than 100 steps$/,
    ],
  ])('%s that are nested without end are told', (_, text, expected) => {
    expect(places(text).filter((place) => expected.test(place))).not.toEqual([]);
  });

  test('a chain of dependencies may be as long as it likes', () => {
    const links = chain(3000, 'depends_on').replaceAll(/depends_on: (s\d+)/g, 'depends_on: [$1]');
    expect(() => load(`services:\n${links}  s3000: {image: a}\n`)).not.toThrow();
  });

  test('of a long line and a long value a part is shown', () => {
    const { message } = errorOf(
      `services: {a: {user: "${'u'.repeat(2000)}", image: "${'X'.repeat(9000)}"}}`,
    );
    const [words = '', line = '', caret = ''] = message.split('\n');
    expect(words.length).toBeLessThan(500);
    expect(line.length).toBeLessThan(220);
    expect(line.slice(caret.indexOf('^'))).toMatch(/^"X+$/);
  });

  test('only so many mistakes are printed', () => {
    const text = `services:\n${Array.from({ length: 50 }, (_, n) => `  s${n}: {}\n`).join('')}`;
    const { message, problems } = errorOf(text);
    expect(problems).toHaveLength(50);
    expect(message.split('\n')).toHaveLength(61);
    expect(message).toMatch(/\nand 30 more problems$/);
  });

  test('with --ignore-refused the rest is deployed, and each key is named', () => {
    const request = stackRequestOf({
      files: {
        'f.yml': 'services:\n  a: {image: a, volumes_from: [r], user: me, cgroup_parent: /p}\n',
      },
    });
    const { stack, warnings } = loadStack({ ...request, ignoreRefused: true });
    expect(stack.services[0]!.spec.TaskTemplate.ContainerSpec).toEqual({
      Image: 'a',
      Labels: { 'com.docker.stack.namespace': 'shop' },
      User: 'me',
      DNSConfig: {},
    });
    expect(warnings).toEqual([
      'f.yml:2:17: services.a.volumes_from has no effect: tasks share data by a named volume that both mount',
      "f.yml:2:46: services.a.cgroup_parent has no effect: the cgroups of tasks are the daemon's",
    ]);
  });
});
