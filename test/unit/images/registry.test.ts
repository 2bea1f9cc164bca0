import { describe, expect, test } from 'vitest';
import { describeError } from '../../../common/base/errors.ts';
import { parseChallenge } from '../../../worker/images/registry-challenge.ts';
import { registryHost } from '../../../worker/images/registry-endpoint.ts';
import {
  connectionError,
  isTransient,
  responseError,
  retryAfterMsOf,
} from '../../../worker/images/registry-errors.ts';
import {
  InsecureList,
  NO_PROXIES,
  ProxyRules,
  parseMirrors,
} from '../../../worker/images/registry-settings.ts';

describe('registry', () => {
  test.each([
    ['Basic realm="x"', { kind: 'basic' }],
    [
      'Bearer realm="https://auth.x/token",service="reg, of x",scope="repository:a/b:pull"',
      {
        kind: 'bearer',
        realm: 'https://auth.x/token',
        service: 'reg, of x',
        scope: 'repository:a/b:pull',
      },
    ],
    [
      'bearer realm="https://a/t"',
      { kind: 'bearer', realm: 'https://a/t', service: null, scope: null },
    ],
    [
      'Basic realm="x", Bearer realm="r"',
      { kind: 'bearer', realm: 'r', service: null, scope: null },
    ],
    ['Negotiate', null],
    ['', null],
  ])('challenge %s', (header, challenge) => {
    expect(parseChallenge(header)).toEqual(challenge);
  });

  test.each([
    ['127.0.0.1:5000', true],
    ['127.9.9.9', true],
    ['localhost:5000', true],
    ['[::1]:5000', true],
    ['reg.example:5000', true],
    ['REG.example:5000', true],
    ['reg.example', false],
    ['any.example:1', true],
    ['any.example', true],
    ['10.1.2.3:5000', true],
    ['11.1.2.3:5000', false],
    ['docker.io', false],
  ])('%s is insecure: %s', (host, insecure) => {
    const list = new InsecureList(['reg.example:5000', 'any.example', '10.0.0.0/8']);
    expect(list.has(host)).toBe(insecure);
  });

  test.each(['10.0.0.0/33', 'x/8', '10.0.0.0/'])('refuses %s as an insecure registry', (entry) => {
    expect(() => new InsecureList([entry])).toThrow('not a subnet');
  });

  test('the hub is served elsewhere than its name says', () => {
    expect(registryHost('docker.io')).toBe('registry-1.docker.io');
    expect(registryHost('ghcr.io')).toBe('ghcr.io');
  });

  test.each([
    [
      404,
      '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
      'not-found',
      'manifest unknown: manifest unknown',
    ],
    [
      401,
      '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
      'unauthenticated',
      'unauthorized: authentication required',
    ],
    [
      401,
      '{"details":"incorrect username or password"}',
      'unauthenticated',
      'unauthorized: incorrect username or password',
    ],
    [401, '', 'unauthenticated', 'unauthorized: authentication required'],
    [
      403,
      '{"errors":[{"code":"DENIED","message":"no access"}]}',
      'permission-denied',
      'denied: no access',
    ],
    [429, '', 'resource-exhausted', 'toomanyrequests: too many requests'],
    [502, '<html>', 'unavailable', 'unexpected HTTP status 502'],
    [418, '', 'internal', 'unexpected HTTP status 418'],
  ])('status %i %s', (status, body, code, text) => {
    const err = responseError(status, body);
    expect([err.code, err.message]).toEqual([code, text]);
    expect(isTransient(err)).toBe(status >= 500 || status === 429);
  });

  test.each([
    ['ECONNRESET', 'socket hang up', 'connect to registry: socket hang up', true],
    ['ECONNREFUSED', 'refused', 'connect to registry: refused', false],
    [
      'EPROTO',
      'ssl3_get_record:wrong version number',
      'http: server gave HTTP response to HTTPS client',
      false,
    ],
    ['SELF_SIGNED_CERT_IN_CHAIN', 's', 'tls: certificate signed by unknown authority: s', false],
    ['CERT_HAS_EXPIRED', 'e', 'tls: certificate is not valid: e', false],
    [
      'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
      '80FC:error:0A000412:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate:../rec.c:1601:',
      'remote error: tls: bad certificate',
      false,
    ],
    ['EPROTO', 'packet length too long', 'http: server gave HTTP response to HTTPS client', false],
  ])('socket error %s', (code, message, text, transient) => {
    const err = connectionError(Object.assign(new Error(message), { code }));
    expect(describeError(err)).toBe(text);
    expect(isTransient(err)).toBe(transient);
  });

  test.each([
    ['ENOSPC', 'write'],
    ['EIO', 'fsync'],
    ['EMFILE', 'open'],
    ['EACCES', 'open'],
    ['ERR_INVALID_ARG_TYPE', undefined],
    ['Z_DATA_ERROR', undefined],
  ])('%s of %s is not told as a connection that failed', (code, syscall) => {
    const err = Object.assign(new Error('as it is'), { code, syscall });
    expect(connectionError(err)).toBe(err);
  });

  test.each([
    ['EACCES', 'connect'],
    ['EAI_AGAIN', 'getaddrinfo'],
    ['CERT_NOT_YET_VALID', undefined],
    ['HPE_INVALID_CONSTANT', undefined],
  ])('%s of %s is told as a connection that failed', (code, syscall) => {
    const err = Object.assign(new Error('as it is'), { code, syscall });
    expect(describeError(connectionError(err))).toBe('connect to registry: as it is');
  });

  test('the scheme that was wrong is told with the request', () => {
    const cause = Object.assign(new Error('wrong version number'), { code: 'EPROTO' });
    expect(describeError(connectionError(cause, 'Get "https://r:5000/v2/"'))).toBe(
      'Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client',
    );
  });

  test.each([
    ['3', 3000],
    ['Thu, 15 Jan 2026 12:00:07 GMT', 7000],
    ['Thu, 15 Jan 2026 11:00:00 GMT', 0],
    ['soon', 0],
    [null, 0],
  ])('Retry-After %s asks for %i ms', (header, waitMs) => {
    expect(retryAfterMsOf(responseError(429, '', header), Date.UTC(2026, 0, 15, 12))).toBe(waitMs);
  });

  test.each([
    ['https', 'registry.example', 'https://secure'],
    ['http', 'registry.example:5000', 'http://plain'],
    ['https', 'inner.corp:5000', null],
    ['https', 'corp', null],
    ['https', 'notcorp', 'https://secure'],
    ['https', 'a.b.dotted', null],
    ['https', '10.1.2.3:443', null],
    ['https', '11.1.2.3', 'https://secure'],
    ['https', 'only.this:5000', null],
    ['https', 'only.this:5001', 'https://secure'],
    ['https', 'localhost:5000', null],
    ['http', '127.0.0.1:5000', null],
  ] as const)('the proxy for %s://%s is %s', (scheme, host, proxy) => {
    const rules = new ProxyRules({
      http: 'http://plain',
      https: 'https://secure',
      except: ['corp', '.dotted', '10.0.0.0/8', ' only.this:5000'],
    });
    expect(rules.proxyFor(scheme, host)).toBe(proxy);
  });

  test('no proxy for anything when all are excepted', () => {
    const rules = new ProxyRules({ ...NO_PROXIES, https: 'http://p', except: ['*'] });
    expect(rules.proxyFor('https', 'registry.example')).toBeNull();
  });

  test('a proxy that is no URL is refused', () => {
    expect(() => new ProxyRules({ ...NO_PROXIES, http: 'proxy:3128' })).toThrow(
      'http or https URL',
    );
  });

  test('mirrors stand for docker.io or for the registry that is named, in order', () => {
    const mirrors = parseMirrors([
      'https://one.example',
      'ghcr.io=http://two.example:5000/',
      'http://three.example',
    ]);
    expect(mirrors.get('docker.io')).toEqual([
      { scheme: 'https', host: 'one.example' },
      { scheme: 'http', host: 'three.example' },
    ]);
    expect(mirrors.get('ghcr.io')).toEqual([{ scheme: 'http', host: 'two.example:5000' }]);
  });

  test.each(['one.example', 'https://one.example/path', '=https://x', 'https://u:p@x'])(
    'the mirror %s is refused',
    (entry) => {
      expect(() => parseMirrors([entry])).toThrow('registry mirror');
    },
  );
});
