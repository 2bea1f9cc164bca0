import { describe, expect, test } from 'vitest';
import { parseMountOptions } from '../../../worker/runtime/mount-options.ts';

function parse(type: string, ...options: string[]) {
  return parseMountOptions({ destination: '/x', type, source: '/s', options });
}

describe('mount options', () => {
  test.each([
    ['tmpfs', ['nosuid', 'noexec', 'ro', 'size=1m', 'mode=700'], 1 | 2 | 8, 0, 'size=1m,mode=700'],
    ['tmpfs', ['rw', 'strictatime'], 1 << 24, 0, ''],
    ['proc', [], 0, 0, ''],
    ['bind', ['rbind', 'rprivate', 'ro', 'nosuid'], 4096 | 16384, 1 | 2, ''],
    ['none', ['bind'], 4096, 0, ''],
    ['bind', ['rw'], 4096, 0, ''],
  ])('%s %j', (type, options, flags, attributes, data) => {
    const parsed = parse(type, ...options);
    expect(parsed).toMatchObject({ flags, attributes, data, recursiveAttributes: false });
  });

  test.each([
    ['rprivate', 0],
    ['slave', 1 << 19],
    ['rslave', (1 << 19) | 16384],
    ['shared', 1 << 20],
    ['rshared', (1 << 20) | 16384],
  ])('%s of a bind', (option, propagation) => {
    expect(parse('bind', 'rbind', option)).toMatchObject({ propagation, flags: 4096 | 16384 });
  });

  test('rro protects the whole bound tree', () => {
    expect(parse('bind', 'rbind', 'rro')).toMatchObject({
      attributes: 1,
      recursiveAttributes: true,
    });
  });

  test('idmap of a bind', () => {
    expect(parse('bind', 'rbind')).toMatchObject({ idMapped: false });
    expect(parse('bind', 'rbind', 'idmap')).toMatchObject({ idMapped: true, data: '' });
  });

  test.each([
    ['bind', 'unbindable', 'a bind cannot be unbindable'],
    ['tmpfs', 'slave', 'only binds propagate'],
    ['bind', 'size=1m', 'not an option of a bind mount'],
  ])('refuses %s %s', (type, option, words) => {
    expect(() => parse(type, option)).toThrow(`mount /x: option "${option}": ${words}`);
  });
});
