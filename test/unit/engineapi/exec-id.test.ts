import { expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { containerStartOfExec, mintExecId } from '../../../daemon/engineapi/exec-id.ts';

const CONTAINER = '0123456789abcdef'.repeat(4);

test('the id of an exec says whose it is, and is another one each time', () => {
  const random = new SeededRandom(1);
  const [one, other] = [mintExecId(CONTAINER, random), mintExecId(CONTAINER, random)];
  expect(one).toMatch(/^[0-9a-f]{64}$/);
  expect(one).not.toBe(other);
  for (const id of [one, other]) expect(CONTAINER.startsWith(containerStartOfExec(id)!)).toBe(true);
});

test.each(['', 'abc', CONTAINER.toUpperCase(), `${CONTAINER}0`])('%j is no id of an exec', (id) => {
  expect(containerStartOfExec(id)).toBeNull();
});
