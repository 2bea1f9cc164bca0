import { describe, expect, test } from 'vitest';
import { isLocalHost, parseEndpoint } from '../../../../cli/client/endpoint.ts';
import { sshArguments } from '../../../../cli/client/ssh-connection.ts';

const TLS = { verify: true };

describe('hosts', () => {
  test.each([
    ['unix:///run/skep/skep.sock', null, { kind: 'unix', path: '/run/skep/skep.sock' }],
    ['tcp://10.0.0.1', null, { kind: 'tcp', host: '10.0.0.1', port: 2375, tls: null }],
    ['tcp://10.0.0.1', TLS, { kind: 'tcp', host: '10.0.0.1', port: 2376, tls: TLS }],
    ['tcp://node.example:99/', TLS, { kind: 'tcp', host: 'node.example', port: 99, tls: TLS }],
    ['tcp://[fd00::1]:99', null, { kind: 'tcp', host: 'fd00::1', port: 99, tls: null }],
    ['tcp://', null, { kind: 'tcp', host: '127.0.0.1', port: 2375, tls: null }],
    ['ssh://host', TLS, { kind: 'ssh', user: null, host: 'host', port: null, path: null }],
    [
      'ssh://me@host:22/run/x.sock',
      null,
      { kind: 'ssh', user: 'me', host: 'host', port: 22, path: '/run/x.sock' },
    ],
    ['ssh://me@host/', null, { kind: 'ssh', user: 'me', host: 'host', port: null, path: null }],
  ])('%s with TLS %j is understood', (url, tls, expected) => {
    expect(parseEndpoint(url, tls)).toEqual(expected);
  });

  test.each([
    ['unix://relative', /expected unix:\/\/\/ABSOLUTE/],
    ['nonsense', /unable to parse docker host 'nonsense'/],
    ['tcp://a:b:c', /expected HOST\[:PORT\]/],
    ['tcp://a:70000', /expected HOST\[:PORT\]/],
    ['tcp://a/path', /expected HOST\[:PORT\]/],
    ['ssh://', /expected ssh:/],
    ['ssh://-oProxyCommand=evil', /expected ssh:/],
    ['ssh://-oProxyCommand=evil@host', /expected ssh:/],
    ['ssh://me:secret@host', /expected ssh:/],
    ['npipe:////./pipe/docker', /Windows/],
  ])('%s is refused', (url, words) => {
    expect(() => parseEndpoint(url, null)).toThrow(words);
  });
});

test.each([
  [
    { kind: 'ssh', user: null, host: 'host', port: null, path: null },
    '-o ConnectTimeout=30 -T -- host skep system dial-stdio',
  ],
  [
    { kind: 'ssh', user: 'me', host: 'host', port: 22, path: '/run/x.sock' },
    '-o ConnectTimeout=30 -T -l me -p 22 -- host skep --host unix:///run/x.sock system dial-stdio',
  ],
] as const)('%j is reached by ssh %s', (endpoint, words) => {
  expect(sshArguments(endpoint).join(' ')).toBe(words);
});

test.each([
  ['unix:///run/skep/skep.sock', true],
  ['tcp://', true],
  ['tcp://127.0.0.1:2376', true],
  ['tcp://127.1.2.3', true],
  ['tcp://[::1]:2376', true],
  ['tcp://localhost', true],
  ['tcp://10.0.0.1:2376', false],
  ['tcp://127.example.org', false],
  ['ssh://root@localhost', false],
])('a daemon at %s is of this machine: %s', (url, isLocal) => {
  expect(isLocalHost(url)).toBe(isLocal);
});
