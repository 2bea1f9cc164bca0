import { expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { asId, type NetworkId, type NodeId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import type { OverlayNetwork } from '../../../worker/network/overlay-network.ts';
import {
  OverlayUpkeep,
  type OverlayUpkeepOptions,
} from '../../../worker/network/overlay-upkeep.ts';
import { network, set } from '../../support/network-scene.ts';

const BAD = network('bad', 4200, 0);
const GOOD = network('good', 4201, 1);

/** An overlay whose kernel refuses while `refuses` says so. */
function overlayOf(id: NetworkId, refuses: () => boolean) {
  const made = { id, conformed: 0, synced: 0 };
  return Object.assign(made, {
    async conform() {
      if (refuses()) throw new Error('EBUSY');
      made.conformed++;
      return true;
    },
  });
}

test('an overlay that cannot be as the tables say is told of, and holds up no other', async () => {
  let refuses = true;
  const bad = overlayOf(BAD.id, () => refuses);
  const good = overlayOf(GOOD.id, () => false);
  const made = new Map([bad, good].map((it) => [it.id, it]));
  const tables = new ClusterTables();
  tables.apply(
    [BAD, GOOD].map((item) => set('network', item)),
    true,
  );
  const upkeep = new OverlayUpkeep({
    ...{ nodeId: asId<NodeId>('node0'), vtepAddress: '172.30.77.1', log: silentLogger, tables },
    host: { underlayMtu: async () => 1500 },
    encrypted: { active: false },
    overlays: {
      all: made as unknown as ReadonlyMap<NetworkId, OverlayNetwork>,
      syncAllSeats: async (overlay: { synced: number }) => {
        overlay.synced++;
      },
    },
  } as unknown as OverlayUpkeepOptions);

  await upkeep.conformAll();
  expect(upkeep.behind).toEqual([{ where: 'network bad', reason: 'EBUSY' }]);
  expect(bad).toMatchObject({ conformed: 0, synced: 0 });
  expect(good).toMatchObject({ conformed: 1, synced: 1 });
  expect(await upkeep.conform(BAD.id)).toBe(false);

  refuses = false;
  expect(await upkeep.retry()).toBe(true); // its links have another MTU than before
  expect(upkeep.behind).toEqual([]);
  expect(bad).toMatchObject({ conformed: 1, synced: 1 });
  expect(good).toMatchObject({ conformed: 1, synced: 1 }); // nothing of it had failed
  expect(await upkeep.retry()).toBe(false);
});
