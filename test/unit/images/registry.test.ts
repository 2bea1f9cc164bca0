import { describe, expect, test } from 'vitest';
import { describeError } from '../../../common/base/errors.ts';
import { parseChallenge } from '../../../worker/images/registry-client.ts';
import { InsecureList, registryHost } from '../../../worker/images/registry-endpoint.ts';
import {
  connectionError,
  isTransient,
  responseError,
} from '../../../worker/images/registry-errors.ts';

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
      'server gave HTTP response to HTTPS client',
      false,
    ],
    ['SELF_SIGNED_CERT_IN_CHAIN', 's', 'tls: certificate signed by unknown authority: s', false],
    ['CERT_HAS_EXPIRED', 'e', 'tls: certificate is not valid: e', false],
  ])('socket error %s', (code, message, text, transient) => {
    const err = connectionError(Object.assign(new Error(message), { code }));
    expect(describeError(err)).toBe(text);
    expect(isTransient(err)).toBe(transient);
  });
});
