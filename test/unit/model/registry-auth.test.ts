import { describe, expect, test } from 'vitest';
import { describeError } from '../../../common/base/errors.ts';
import { parseRegistryAuth } from '../../../common/model/registry-auth.ts';

function header(fields: unknown, encoding: 'base64' | 'base64url' = 'base64'): string {
  return Buffer.from(JSON.stringify(fields)).toString(encoding);
}

describe('registry credentials', () => {
  test.each<[string, string | null]>([
    ['nothing', null],
    ['an empty header', ''],
    ['an empty object', header({})],
    ['a server address alone', header({ serveraddress: 'reg.example' })],
    ['fields that are no text', header({ username: 7, password: true })],
  ])('%s is nobody', (_what, text) => {
    expect(parseRegistryAuth(text)).toBeNull();
  });

  test.each<[string, unknown, object]>([
    ['name and password', { username: 'u', password: 'p' }, { username: 'u', password: 'p' }],
    ['a name alone', { username: 'u' }, { username: 'u', password: '' }],
    [
      'the auth field of a configuration file',
      { auth: Buffer.from('u:p:q').toString('base64') },
      { username: 'u', password: 'p:q' },
    ],
    [
      'a name over the auth field',
      { username: 'u', password: 'p', auth: Buffer.from('x:y').toString('base64') },
      { username: 'u', password: 'p' },
    ],
    [
      'an identity token',
      { identitytoken: 't' },
      { username: '', password: '', identityToken: 't' },
    ],
  ])('are read from %s', (_what, fields, credentials) => {
    expect(parseRegistryAuth(header(fields))).toEqual(credentials);
    expect(parseRegistryAuth(header(fields, 'base64url'))).toEqual(credentials);
  });

  test('are read in both alphabets of base 64', () => {
    const fields = { username: 'u', password: '???>>>ÿÿ' };
    expect(header(fields)).toMatch(/[+/]/);
    for (const encoding of ['base64', 'base64url'] as const) {
      expect(parseRegistryAuth(header(fields, encoding))).toEqual(fields);
    }
  });

  test.each(['%%%', Buffer.from('{"username"').toString('base64'), header('text'), header(null)])(
    '%j is refused',
    (text) => {
      expect(() => parseRegistryAuth(text)).toThrow(/^read registry credentials: not base 64/);
    },
  );

  test('a refusal tells nothing of what was sent', () => {
    const broken = Buffer.from('hunter2').toString('base64');
    let told = '';
    try {
      parseRegistryAuth(broken);
    } catch (err) {
      told = describeError(err);
    }
    expect(told).toMatch(/^read registry credentials/);
    expect(told).not.toContain('hunter');
  });
});
