import { expect, test } from 'vitest';
import { paintFor } from '../../../../cli/output/palette.ts';

const terminal = { isTTY: true };
const GREEN = '\x1b[32mwell\x1b[39m';

test.each([
  ['a terminal', terminal, {}, GREEN],
  ['a terminal, NO_COLOR is empty', terminal, { NO_COLOR: '' }, GREEN],
  ['a terminal, NO_COLOR is anything', terminal, { NO_COLOR: '0' }, 'well'],
  ['a terminal that knows no colours', terminal, { TERM: 'dumb' }, 'well'],
  ['a pipe', {}, {}, 'well'],
])('on %s', (_, stream, env, text) => {
  expect(paintFor(stream, env)('well', 'good')).toBe(text);
  expect(paintFor(stream, env)('so', 'plain')).toBe('so');
});
