import { describe, expect, test } from 'vitest';
import { arrayOf, RenderedRows, withField } from '../../../daemon/engineapi/rendered-rows.ts';

describe('rows of lists', () => {
  const counted = () => {
    let count = 0;
    const toJson = (): object => {
      count += 1;
      return { ID: 1 };
    };
    return { toJson, count: () => count };
  };

  test('are rendered once for each object', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows();
    expect(rows.text('a', [1], toJson)).toBe('{"ID":1}');
    expect(rows.text('a', [1], toJson)).toBe('{"ID":1}');
    expect(count()).toBe(1);
    rows.text('b', [1], toJson);
    expect(count()).toBe(2);
  });

  test('are made anew when the object, or another thing that they show, is another', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows();
    for (const parts of [[1, 7], [1, 7], [2, 7], [2, 8], [2]]) rows.text('a', parts, toJson);
    expect(count()).toBe(4);
  });

  test('that nobody asks for are forgotten, and those asked for are kept', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows(2);
    for (const id of ['1', '2', '3', '4', '5']) {
      rows.text('0', [], toJson);
      rows.text(id, [], toJson);
    }
    expect(count()).toBe(6);
    rows.text('1', [], toJson);
    expect(count()).toBe(7);
  });

  test('of one object are one, however often it changes', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows(2);
    rows.text('kept', [], toJson);
    for (let version = 0; version < 20; version++) rows.text('busy', [version], toJson);
    rows.text('kept', [], toJson);
    expect(count()).toBe(21);
  });

  test('get fields at their ends, and stand in arrays', () => {
    expect(withField('{"ID":1}', 'Status', { n: 2 })).toBe('{"ID":1,"Status":{"n":2}}');
    expect(arrayOf([])).toBe('[]');
    expect(arrayOf(['{}', '{"a":1}'])).toBe('[{},{"a":1}]');
  });
});
