import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import {
  canonicalReference,
  familiarReference,
  parseImageReference,
  withDefaultTag,
} from '../../../common/model/image-reference.ts';

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;

describe('image reference', () => {
  test.each([
    ['nginx', 'docker.io', 'library/nginx', null, null],
    ['nginx:1.27', 'docker.io', 'library/nginx', '1.27', null],
    ['me/app', 'docker.io', 'me/app', null, null],
    ['docker.io/nginx', 'docker.io', 'library/nginx', null, null],
    ['index.docker.io/me/app:x', 'docker.io', 'me/app', 'x', null],
    ['127.0.0.1:5000/web:1', '127.0.0.1:5000', 'web', '1', null],
    ['localhost/web', 'localhost', 'web', null, null],
    ['localhost:5000/a/b/c', 'localhost:5000', 'a/b/c', null, null],
    ['[fd00::1]:5000/web', '[fd00::1]:5000', 'web', null, null],
    [`ghcr.io/o/p:t@${DIGEST}`, 'ghcr.io', 'o/p', 't', DIGEST],
    [`web@${DIGEST}`, 'docker.io', 'library/web', null, DIGEST],
    ['a__b/c-d.e', 'docker.io', 'a__b/c-d.e', null, null],
    ['Upper.example/web', 'Upper.example', 'web', null, null],
    ['web:_x.y-Z', 'docker.io', 'library/web', '_x.y-Z', null],
    [`web:${'x'.repeat(128)}`, 'docker.io', 'library/web', 'x'.repeat(128), null],
  ])('parses %s', (text, domain, path, tag, digest) => {
    expect(parseImageReference(text)).toEqual({ domain, path, tag, digest });
  });

  test.each([
    ['', 'invalid reference format'],
    [':1', 'invalid reference format'],
    ['web:', 'invalid reference format'],
    ['Web', 'must be lowercase'],
    ['me/App:1', 'must be lowercase'],
    ['a___b', 'invalid reference format'],
    ['web:-x', 'invalid reference format'],
    [`web:${'x'.repeat(129)}`, 'invalid reference format'],
    ['a//b', 'invalid reference format'],
    ['/web', 'invalid reference format'],
    ['web/', 'invalid reference format'],
    ['we b', 'invalid reference format'],
    ['web@sha256:12', 'invalid reference format'],
    [`web@sha512:${'a'.repeat(128)}`, 'unsupported digest algorithm'],
    [`web@sha256:${'A'.repeat(64)}`, 'invalid checksum digest'],
    [HEX, '64-byte hexadecimal'],
    ['a'.repeat(256), 'more than 255 characters'],
    ['http://x/web', 'invalid reference format'],
  ])('refuses %j', (text, words) => {
    expect(() => parseImageReference(text)).toThrow(SkepError);
    expect(() => parseImageReference(text)).toThrow(words);
  });

  test.each([
    ['docker.io/library/nginx:1', 'nginx:1', 'docker.io/library/nginx:1'],
    ['nginx', 'nginx:latest', 'docker.io/library/nginx:latest'],
    ['docker.io/me/app', 'me/app:latest', 'docker.io/me/app:latest'],
    ['h.x/library/a:2', 'h.x/library/a:2', 'h.x/library/a:2'],
    [`web@${DIGEST}`, `web@${DIGEST}`, `docker.io/library/web@${DIGEST}`],
  ])('writes %s as %s', (text, familiar, canonical) => {
    const reference = withDefaultTag(parseImageReference(text));
    expect(familiarReference(reference)).toBe(familiar);
    expect(canonicalReference(reference)).toBe(canonical);
  });
});
