import { describe, expect, test } from 'vitest';
import { parseGlobal, tlsFiles } from '../../../cli/global-options.ts';

describe('what stands before the command', () => {
  test.each([
    [['-H', 'unix:///a', 'ps'], { host: 'unix:///a', args: ['ps'] }],
    [['-Hunix:///a', 'ps'], { host: 'unix:///a', args: ['ps'] }],
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
