import { describe, expect, test } from 'vitest';
import { arrayOf, RenderedRows, withField } from '../../../daemon/engineapi/rendered-rows.ts';

describe('rows of lists', () => {
  const counted = () => {
    let count = 0;
    const toJson = (object: { readonly id: number }): object => {
      count += 1;
      return { ID: object.id };
    };
    return { toJson, count: () => count };
  };

  test('are rendered once for each object', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows<{ readonly id: number }>();
    const [a, b] = [{ id: 1 }, { id: 1 }];
    expect(rows.text(a, [], toJson)).toBe('{"ID":1}');
    expect(rows.text(a, [], toJson)).toBe('{"ID":1}');
    expect(count()).toBe(1);
    rows.text(b, [], toJson);
    expect(count()).toBe(2);
  });

  test('are made anew when another thing that they show is another', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows<{ readonly id: number }>();
    const [a, network, next] = [{ id: 1 }, {}, {}];
    rows.text(a, [network], toJson);
    rows.text(a, [network], toJson);
    expect(count()).toBe(1);
    rows.text(a, [next], toJson);
    rows.text(a, [], toJson);
    expect(count()).toBe(3);
  });

  test('that nobody asks for are forgotten, and those asked for are kept', () => {
    const { toJson, count } = counted();
    const rows = new RenderedRows<{ readonly id: number }>(2);
    const objects = Array.from({ length: 6 }, (_, id) => ({ id }));
    for (const object of objects.slice(1)) {
      rows.text(objects[0]!, [], toJson);
      rows.text(object, [], toJson);
    }
    expect(count()).toBe(6);
    rows.text(objects[1]!, [], toJson);
    expect(count()).toBe(7);
  });

  test('get fields at their ends, and stand in arrays', () => {
    expect(withField('{"ID":1}', 'Status', { n: 2 })).toBe('{"ID":1,"Status":{"n":2}}');
    expect(arrayOf([])).toBe('[]');
    expect(arrayOf(['{}', '{"a":1}'])).toBe('[{},{"a":1}]');
  });
});
