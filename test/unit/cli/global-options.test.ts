import { describe, expect, test } from 'vitest';
import {
  completionQuestion,
  helpAsFlag,
  parseGlobal,
  tlsFiles,
} from '../../../cli/global-options.ts';

describe('what stands before the command', () => {
  test.each([
    [['-H', 'unix:///a', 'ps'], { host: 'unix:///a', args: ['ps'] }],
    [['-Hunix:///a', 'ps'], { host: 'unix:///a', args: ['ps'] }],
    [['-cprod', 'ps'], { context: 'prod', args: ['ps'] }],
    [['-c=prod'], { context: 'prod' }],
    [['--config', '/ci', 'pull', 'x'], { config: '/ci', args: ['pull', 'x'] }],
    [['--host=unix:///a', 'ps', '-v'], { host: 'unix:///a', version: false, args: ['ps', '-v'] }],
    [['-v'], { version: true, args: [] }],
    [['--tlsverify', 'ps'], { tlsverify: true, tls: undefined, args: ['ps'] }],
    [['--tlsverify=false', '--tls=1'], { tlsverify: false, tls: true }],
    [
      ['--tlscacert', '/a', '--tlscert=/c', '--tlskey', '/k', 'ps'],
      { tlscacert: '/a', tlscert: '/c', tlskey: '/k', args: ['ps'] },
    ],
    [['exec', '-it', '--host', 'x'], { host: null, args: ['exec', '-it', '--host', 'x'] }],
  ])('%j is understood', (argv, expected) => {
    expect(parseGlobal(argv)).toMatchObject(expected);
  });

  test.each([
    [['-H'], 'flag needs an argument: -H'],
    [['--nope'], 'unknown flag: --nope'],
    [['--constructor'], 'unknown flag: --constructor'],
    [['--tls=maybe'], 'invalid argument "maybe" for "--tls" flag'],
  ])('%j is refused', (argv, words) => {
    expect(() => parseGlobal(argv)).toThrow(words);
  });

  test.each([
    [['--tls', '-c'], '--context'],
    [['-H'], '--host'],
    [['-x'], null],
  ])('%j ends within the flag %s', (argv, open) => {
    expect(() => parseGlobal(argv)).toThrow(expect.objectContaining({ open }));
  });
});

test.each([
  [['help'], []],
  [
    ['help', 'service', 'create'],
    ['service', 'create', '--help'],
  ],
  [
    ['service', 'help'],
    ['service', 'help'],
  ],
])('%j asks as %j does', (argv, expected) => {
  expect(helpAsFlag(argv)).toEqual(expected);
});

describe('a line that is to be completed', () => {
  test.each([
    [[''], { args: ['ask', '--', ''] }],
    [['ps', '-a', 'b'], { host: null, args: ['ask', '--', 'ps', '-a', 'b'] }],
    [
      ['-cprod', '-v', 'node', 'ls', ''],
      { context: 'prod', version: false, args: ['ask', '--', 'node', 'ls', ''] },
    ],
    [
      ['--tls', '--context', 'pr'],
      { tls: true, context: null, args: ['ask', '--', '--context', 'pr'] },
    ],
    [['-H', 'tcp://a', '-c', ''], { host: 'tcp://a', args: ['ask', '--', '--context', ''] }],
    [['--context=pr'], { context: null, args: ['ask', '--', '--context=pr'] }],
  ])('%j is asked of the daemon that it says', (words, expected) => {
    expect(completionQuestion('ask', words)).toMatchObject(expected);
  });

  test('that is wrong is asked of nobody', () => {
    expect(() => completionQuestion('ask', ['--nope', 'x'])).toThrow('unknown flag: --nope');
  });
});

describe('files of TLS', () => {
  const of = (argv: readonly string[], env: Record<string, string> = {}) =>
    tlsFiles(parseGlobal(argv), { HOME: '/home/me', ...env });
  const dir = '/home/me/.docker';

  test.each([
    [[], {}],
    [[], { DOCKER_TLS_VERIFY: '', DOCKER_CERT_PATH: '/certs' }],
    [['--tls=false'], {}],
  ])('are none with %j and %j', (argv, env) => {
    expect(of(argv, env)).toBeNull();
  });

  test.each([
    [['--tlsverify'], {}, true, dir],
    [['--tlsverify=false'], { DOCKER_TLS_VERIFY: '1' }, false, dir],
    [['--tls'], {}, false, dir],
    [[], { DOCKER_TLS: '1' }, false, dir],
    [[], { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' }, true, '/certs'],
    [['--tls'], { DOCKER_CONFIG: '/config' }, false, '/config'],
  ])('with %j and %j are checked: %s, in %s', (argv, env, verify, place) => {
    expect(of(argv, env)).toEqual({
      verify,
      ca: { path: `${place}/ca.pem`, isNeeded: verify },
      cert: { path: `${place}/cert.pem`, isNeeded: false },
      key: { path: `${place}/key.pem`, isNeeded: false },
    });
  });

  test('that are named must be there', () => {
    expect(of(['--tls', '--tlscert', '/c', '--tlskey', '/k'])).toMatchObject({
      cert: { path: '/c', isNeeded: true },
      key: { path: '/k', isNeeded: true },
    });
  });
});
