/** What users of a node are told that is no manager any more, before the node itself knows it. */
import { expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { asId } from '../../../common/model/ids.ts';
import { requireCurrentManager } from '../../../common/rpc/peer.ts';
import { inUsersWords } from '../../../daemon/engineapi/no-manager.ts';

function refusal(isManager: boolean | null): unknown {
  try {
    requireCurrentManager('/skep.Control/ListManagers', asId('old'), isManager);
  } catch (err) {
    return err;
  }
  throw new Error('it was not refused');
}

test('a call that other managers refuse for its caller reads as on a worker', () => {
  expect(inUsersWords(refusal(false))).toMatchObject({
    code: 'not-a-manager',
    message: expect.stringContaining('This node is not a swarm manager. Worker nodes'),
  });
});

test('other refusals stay as they are', () => {
  for (const err of [refusal(null), new SkepError('permission-denied', 'no'), new Error('x')]) {
    expect(inUsersWords(err)).toBe(err);
  }
});
