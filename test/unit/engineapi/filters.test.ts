import { describe, expect, test } from 'vitest';
import { Filters } from '../../../daemon/engineapi/filters.ts';

const KNOWN = ['name', 'label'];

describe('filters', () => {
  test.each(['{"name":{"web":true,"db":true}}', '{"name":["web","db"]}'])(
    'are read in both encodings: %s',
    (text) => {
      const filters = Filters.parse(text, KNOWN);
      expect(filters.get('name')).toEqual(['web', 'db']);
      expect(filters.has('label')).toBe(false);
    },
  );

  test('a value that is switched off is none', () => {
    expect(Filters.parse('{"name":{"web":false}}', KNOWN).has('name')).toBe(false);
  });

  test.each([null, '', '{}'])('%j filters nothing', (text) => {
    expect(Filters.parse(text, KNOWN).any('name', () => false)).toBe(true);
  });

  test.each([
    ['{"size":["1"]}', "invalid filter 'size'"],
    ['{', 'is not JSON'],
    ['[]', 'is not an object'],
    ['"x"', 'is not an object'],
    ['{"name":"web"}', "invalid filter 'name': neither a list nor a map"],
  ])('%s is refused: %s', (text, message) => {
    expect(() => Filters.parse(text, KNOWN)).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: expect.stringContaining(message),
      }),
    );
  });

  test('values of one name are alternatives', () => {
    const filters = Filters.parse('{"name":["web","db"]}', KNOWN);
    expect(filters.any('name', (value) => value === 'db')).toBe(true);
    expect(filters.any('name', (value) => value === 'x')).toBe(false);
  });

  test.each<[string[], boolean]>([
    [['a'], true],
    [['a=1'], true],
    [['a=1', 'b'], true],
    [['a=2'], false],
    [['a', 'c'], false],
    [['b='], true],
    [['toString'], false],
    [['toString='], false],
  ])('labels must all be there: %j -> %s', (label, expected) => {
    const filters = Filters.parse(JSON.stringify({ label }), KNOWN);
    expect(filters.labels('label', { a: '1', b: '' })).toBe(expected);
  });
});
