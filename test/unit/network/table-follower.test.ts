import { beforeEach, describe, expect, test } from 'vitest';
import type { NetworkId } from '../../../common/model/ids.ts';
import { ClusterTables, type Touched } from '../../../worker/network/cluster-tables.ts';
import { TableFollower } from '../../../worker/network/table-follower.ts';
import { idOf } from '../../support/builders.ts';

const front = idOf<NetworkId>('front');

/** A step of the tables after which nobody has `addresses` any more. */
function touchedWith(...addresses: string[]): Touched {
  const touched = new ClusterTables().apply([], false);
  if (addresses.length > 0) touched.gone.set(front, new Set(addresses));
  return touched;
}

describe('a kernel that follows the tables', () => {
  let done: string[];
  let isBroken: boolean;
  let follower: TableFollower;
  beforeEach(() => {
    done = [];
    isBroken = false;
    const act = async (what: string): Promise<void> => {
      if (isBroken) throw new Error('no buffer space');
      done.push(what);
    };
    follower = new TableFollower({
      whole: ({ gone }) => act(['whole', ...(gone.get(front) ?? [])].join(' ')),
      step: ({ gone }) => act(['step', ...(gone.get(front) ?? [])].join(' ')),
    });
  });

  const fails = async (work: Promise<void>): Promise<void> => {
    await expect(work).rejects.toThrow('no buffer space');
  };

  test('does so whole at first, then step by step', async () => {
    expect([follower.isTold, follower.inStep]).toEqual([false, false]);
    await follower.follow(touchedWith());
    await follower.follow(touchedWith('10.0.0.5'));
    expect(done).toEqual(['whole', 'step 10.0.0.5']);
    expect([follower.isTold, follower.inStep]).toEqual([true, true]);
  });

  test('does so whole until that has succeeded once', async () => {
    isBroken = true;
    await fails(follower.follow(touchedWith()));
    expect([follower.isTold, follower.inStep]).toEqual([true, false]);
    await fails(follower.follow(touchedWith()));
    isBroken = false;
    await follower.follow(touchedWith());
    await follower.follow(touchedWith());
    expect(done).toEqual(['whole', 'step']);
  });

  test('does so whole after a step that failed, with all that ended meanwhile', async () => {
    await follower.follow(touchedWith());
    isBroken = true;
    await fails(follower.follow(touchedWith('10.0.0.5')));
    await fails(follower.follow(touchedWith('10.0.0.6')));
    expect(follower.inStep).toBe(false);
    isBroken = false;
    await follower.follow(touchedWith('10.0.0.7'));
    await follower.follow(touchedWith('10.0.0.8'));
    expect(done).toEqual(['whole', 'whole 10.0.0.5 10.0.0.6 10.0.0.7', 'step 10.0.0.8']);
  });

  test('keeps what serves no more of a step that failed, too', async () => {
    const seen: string[][] = [];
    const looking = new TableFollower({
      whole: async ({ unserved }) => {
        seen.push([...(unserved.get(front) ?? [])]);
      },
      step: () => Promise.reject(new Error('no buffer space')),
    });
    await looking.follow(touchedWith());
    const touched = touchedWith();
    touched.unserved.set(front, new Set(['10.0.0.5']));
    await fails(looking.follow(touched));
    await looking.retry();
    expect(seen).toEqual([[], ['10.0.0.5']]);
  });

  test('tries again without a step, if there is anything to make good', async () => {
    await follower.retry();
    isBroken = true;
    await fails(follower.follow(touchedWith('10.0.0.5')));
    await fails(follower.retry());
    isBroken = false;
    await follower.retry();
    await follower.retry();
    expect(done).toEqual(['whole 10.0.0.5']);
  });
});
