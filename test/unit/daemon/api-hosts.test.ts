import { describe, expect, test } from 'vitest';
import { type ApiSecurity, parseApiHosts, type TlsFlags } from '../../../daemon/api-hosts.ts';

const PLAIN: ApiSecurity = { kind: 'plain' };
const VERIFIED: ApiSecurity = {
  kind: 'tls',
  certPath: '/etc/skep/cert.pem',
  keyPath: '/etc/skep/key.pem',
  clientCaPath: '/etc/skep/ca.pem',
};
const UNVERIFIED: ApiSecurity = { ...VERIFIED, clientCaPath: null };
const OPEN = /whoever connects would be root on this host/;

describe('hosts of the API', () => {
  test.each<[string, TlsFlags, object]>([
    ['unix:///run/x.sock', {}, { kind: 'unix', path: '/run/x.sock' }],
    ['tcp://', {}, { kind: 'tcp', host: '127.0.0.1', port: 2375, security: PLAIN }],
    ['tcp://localhost:99', {}, { kind: 'tcp', host: 'localhost', port: 99, security: PLAIN }],
    ['tcp://[::1]:99', {}, { kind: 'tcp', host: '::1', port: 99, security: PLAIN }],
    ['tcp://127.1.2.3', {}, { kind: 'tcp', host: '127.1.2.3', port: 2375, security: PLAIN }],
    [
      'tcp://0.0.0.0',
      { tlsverify: true },
      { kind: 'tcp', host: '0.0.0.0', port: 2376, security: VERIFIED },
    ],
    [
      'tcp://0.0.0.0:1',
      { tls: true, tlsverify: false },
      { kind: 'tcp', host: '0.0.0.0', port: 1, security: UNVERIFIED },
    ],
    [
      'tcp://0.0.0.0',
      { tls: false },
      { kind: 'tcp', host: '0.0.0.0', port: 2375, security: PLAIN },
    ],
    [
      'tcp://localhost',
      { tls: true },
      { kind: 'tcp', host: 'localhost', port: 2376, security: UNVERIFIED },
    ],
    ['fd://', {}, { kind: 'fd', which: '', security: PLAIN, mayBeOpen: false }],
    ['fd://*', {}, { kind: 'fd', which: '', security: PLAIN, mayBeOpen: false }],
    ['fd://4', { tls: false }, { kind: 'fd', which: '4', security: PLAIN, mayBeOpen: true }],
  ])('%s with %j is understood', (url, flags, expected) => {
    expect(parseApiHosts([url], flags)).toEqual([expected]);
  });

  test('name the files of TLS as they are told', () => {
    const files = { tlscacert: '/a', tlscert: '/c', tlskey: '/k' };
    expect(parseApiHosts(['tcp://10.0.0.1'], { tlsverify: true, ...files })).toMatchObject([
      { security: { kind: 'tls', certPath: '/c', keyPath: '/k', clientCaPath: '/a' } },
    ]);
  });

  test.each<[string, TlsFlags, RegExp]>([
    ['tcp://0.0.0.0:2375', {}, OPEN],
    ['tcp://:::2375', {}, /expected tcp:\/\/IP:PORT/],
    ['tcp://10.0.0.1', { tls: true }, OPEN],
    ['tcp://127.example.com', {}, OPEN],
    ['tcp://localhost:70000', {}, /expected tcp:\/\/IP:PORT/],
    ['unix://run/x.sock', {}, /expected unix:\/\/\/ABSOLUTE\/PATH/],
    ['npipe:////./pipe/x', {}, /expected unix/],
    ['/run/x.sock', {}, /expected unix/],
    ['tcp://localhost', { tls: false, tlsverify: true }, /--tlsverify: needs TLS/],
  ])('%s with %j is refused', (url, flags, words) => {
    expect(() => parseApiHosts([url], flags)).toThrow(words);
  });
});
