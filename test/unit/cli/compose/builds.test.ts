import { describe, expect, test } from 'vitest';
import { loadBuilds } from '../../../../cli/compose/load-stack.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const request = (text: string, more: Readonly<Record<string, string>> = {}) =>
  stackRequestOf({ files: { 'f.yml': text, ...more } });
const web = (build: string) =>
  loadBuilds(
    request(`services:\n  web: {image: "web:1", build: ${build}}\n  db: {image: db}\n`),
    [],
  );
const problemsOf = (build: string): readonly string[] => {
  try {
    web(build);
    return [];
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    return err.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
  }
};

describe('what is built', () => {
  test('a directory alone is the context, from the directory of its file', () => {
    expect(web('./app')).toEqual([
      {
        ...{ service: 'web', image: 'web:1', tags: [], inline: null, flags: [] },
        context: '/src/app',
      },
    ]);
  });

  test.each([
    ['dockerfile: Dockerfile-name', ['--file', '/src/Dockerfile-name']],
    ['dockerfile: /etc/D', ['--file', '/etc/D']],
    ['args: {A: 1, B: }', ['--build-arg', 'A=1', '--build-arg', 'B']],
    ['args: [A=1]', ['--build-arg', 'A=1']],
    ['labels: {a: b}', ['--label', 'a=b']],
    ['target: last', ['--target', 'last']],
    ['network: host', ['--network', 'host']],
    ['shm_size: 64m', ['--shm-size', '64m']],
    ['no_cache: true, pull: true', ['--no-cache', '--pull-always']],
    ['no_cache: false', []],
    ['cache_from: [a, b]', ['--cache-from', 'a', '--cache-from', 'b']],
    ['cache_to: [a]', ['--cache-to', 'a']],
    ['extra_hosts: ["a:192.0.2.1"]', ['--add-host', 'a:192.0.2.1']],
    ['extra_hosts: {a: "192.0.2.1"}', ['--add-host', 'a:192.0.2.1']],
    ['platforms: [linux/arm64]', ['--platform', 'linux/arm64']],
    [
      'ulimits: {nofile: 9, nproc: {soft: 1, hard: 2}}',
      ['--ulimit', 'nofile=9:9', '--ulimit', 'nproc=1:2'],
    ],
    ['privileged: false, provenance: false, sbom: "false"', []],
  ])('%s', (keys, flags) => {
    expect(web(`{context: ., ${keys}}`)).toMatchObject([{ context: '/src', flags }]);
  });

  test('further names, and a Dockerfile in the stack file', () => {
    expect(web('{dockerfile_inline: "FROM scratch", tags: ["web:2"]}')).toMatchObject([
      { context: '/src', inline: 'FROM scratch', tags: ['web:2'], flags: [] },
    ]);
  });

  test('of an included file, in its own directory', () => {
    const builds = loadBuilds(
      request('include: [sub/more.yml]\nservices: {web: {image: w, build: .}}\n', {
        'sub/more.yml': 'services: {other: {image: o, build: here}}\n',
      }),
      [],
    );
    expect(builds.map(({ service, context }) => [service, context])).toEqual([
      ['web', '/src'],
      ['other', '/src/sub/here'],
    ]);
  });

  test('of the services that are named', () => {
    const text = 'services: {a: {image: a, build: .}, b: {image: b, build: .}, c: {image: c}}\n';
    expect(loadBuilds(request(text), ['b']).map(({ image }) => image)).toEqual(['b']);
    expect(() => loadBuilds(request(text), ['c'])).toThrow('services.c has no build');
    expect(() => loadBuilds(request(text), ['d'])).toThrow('there is no service "d" in the file');
  });

  test.each([
    [
      'https://example.test/a.git',
      '2:32 services.web.build is refused: the context is a directory',
    ],
    ['{context: "git@example.test:a"}', '2:42 services.web.build.context is refused: the context'],
    ['{secrets: [a]}', '2:42 services.web.build.secrets is refused: builds have no secrets'],
    ['{ssh: [default]}', '2:38 services.web.build.ssh is refused'],
    ['{entitlements: [x]}', '2:47 services.web.build.entitlements is refused'],
    ['{isolation: hyperv}', '2:44 services.web.build.isolation is refused'],
    ['{additional_contexts: [a=b]}', '2:54 services.web.build.additional_contexts is refused'],
    [
      '{privileged: true}',
      '2:45 services.web.build.privileged is refused: builds are not privileged',
    ],
    ['{sbom: true}', '2:39 services.web.build.sbom is refused: no attestations'],
    [
      '{platforms: [a/b, c/d]}',
      '2:44 services.web.build.platforms: an image is built for one platform',
    ],
    [
      '{dockerfile: a, dockerfile_inline: b}',
      '2:67 services.web.build.dockerfile_inline and dockerfile',
    ],
  ])('%s is refused at its place', (build, expected) => {
    const problems = problemsOf(build);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.slice(0, expected.length)).toBe(expected);
  });

  test('an image without a name is refused', () => {
    expect(() => loadBuilds(request('services: {a: {build: .}}\n'), [])).toThrow(
      /f\.yml:1:23: services\.a\.build: image is required: it names what is built/,
    );
  });
});
