import { describe, expect, test } from 'vitest';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';

const body = new JsonReader({
  Text: 'x',
  Number: 1.5,
  Nothing: null,
  Inner: { List: [{ Flag: true }, { Flag: 'yes' }], Texts: ['a', 2], Map: { k: 1 } },
});
const inner = body.object('Inner');

describe('a read of a request body', () => {
  test('finds names in any case; absent and null are the same', () => {
    expect(body.string('text')).toBe('x');
    expect(body.has('Nothing')).toBe(false);
    expect(body.string('Nothing', 'd')).toBe('d');
    expect(new JsonReader(undefined).strings('Any')).toEqual([]);
  });

  test.each<[string, () => unknown]>([
    ['Text must be a number: got "x"', () => body.number('Text')],
    ['Number must be a whole number: got 1.5', () => body.integer('Number')],
    ['Number must be a string: got 1.5', () => body.string('Number')],
    ['Text must be true or false: got "x"', () => body.boolean('Text')],
    ['Text must be a list: got "x"', () => body.list('Text')],
    ['Text must be an object', () => body.object('Text')],
    ['Inner.Texts[1] must be a string: got 2', () => inner.strings('Texts')],
    ['Inner.Map.k must be a string: got 1', () => inner.stringMap('Map')],
    [
      'Inner.List[1].Flag must be true or false: got "yes"',
      () => inner.objects('List').map((item) => item.boolean('Flag')),
    ],
    ['Text must be one of a, b: got "x"', () => body.oneOf('Text', ['a', 'b'], 'a')],
    ['Text must be base 64', () => body.base64('Text')],
    ['request body must be an object', () => new JsonReader([])],
  ])('of a wrong type is refused: %s', (message, read) => {
    expect(read).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: expect.stringContaining(message),
      }),
    );
  });

  test('keys of maps are the user words: their case counts, and each is a key', () => {
    const labels = JSON.parse('{"Labels":{"Tier":"a","tier":"b","__proto__":"c"}}');
    const map = new JsonReader(labels).stringMap('labels');
    expect(Object.entries(map)).toEqual([
      ['Tier', 'a'],
      ['tier', 'b'],
      ['__proto__', 'c'],
    ]);
  });

  test.each([null, false, 0, '', [], {}, { a: { b: [] } }])(
    'a field that is not done may say nothing: %j',
    (Field) => {
      expect(() => new JsonReader({ Field }).refuse('Field', 'why')).not.toThrow();
    },
  );
});
