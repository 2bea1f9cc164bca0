import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { asId, type NetworkId, type TaskId } from '../../../common/model/ids.ts';
import type { PortConfig } from '../../../common/model/service.ts';
import {
  AttachedTasks,
  type AttachedTasksOptions,
} from '../../../worker/network/attached-tasks.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import type { TaskTarget } from '../../../worker/network/host-rules.ts';
import { FACT } from '../../../worker/network/kernel-facts.ts';
import { type NodeParts, subjectsOf } from '../../../worker/network/node-subjects.ts';
import { type TaskLeg, TaskNetwork } from '../../../worker/network/task-network.ts';
import type { TaskNetworkRequest } from '../../../worker/network/task-request.ts';
import { network, set } from '../../support/network-scene.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const FRONT = network('front', 4096, 1);
const BACK = network('back', 4097, 2);
const ID = asId<TaskId>('aa');
/** Of SCTP nothing is asked of the machine whether it is free. */
const PORT: PortConfig = {
  name: '',
  protocol: 'sctp',
  targetPort: 80,
  publishedPort: 48_080,
  publishMode: 'host',
  hostIp: '',
};

/** In these networks, as a container outside of services. */
function request(...networks: readonly { readonly id: NetworkId }[]): TaskNetworkRequest {
  return {
    ...{ taskId: ID, serviceId: null, containerName: 'shell', hostname: 'shell' },
    netnsPath: '/nowhere',
    attachments: networks.map(({ id }, i) => ({
      ...{ networkId: id, addresses: [`10.0.${i + 1}.9/24`], aliases: [] },
    })),
    links: networks.map((_, i) => `eth${i + 1}`),
    hostPorts: [],
    dns: { nameservers: [], search: [], options: [] },
  };
}

describe('attached tasks', () => {
  const folder = temporaryFolders();
  /** what the kernel was told, and whether it refuses */
  let calls: string[];
  let refuses: string;
  /** of the first so many, connections cannot be looked at */
  let refusesLooks: number;
  let published: Map<string, TaskTarget | null>;
  let tasks: AttachedTasks;

  /** A namespace that notes what is done to it. @param which of those that were opened */
  function fakeNetwork(which: number, legs: readonly TaskLeg[]) {
    const note = (what: string) => async () => {
      const call = `${what} ${which}`;
      const isLook = what.startsWith('forget');
      if (refuses === call || (isLook && which <= refusesLooks)) throw new Error('EBUSY');
      calls.push(call);
    };
    const names = legs.map(({ networkId }) => networkId);
    return {
      ...{ legs, gatewayLink: `eth${legs.length}` },
      gatewayAddress: '172.18.0.2' as string | null,
      watch: { suspect: () => true, trust: () => {} },
      rules: {
        ...{ virtualIps: [], stale: false, setDual: () => false },
        ...{ set: async () => {}, rebuild: note('rules of') },
      },
      readBack: async () => names,
      unplug: async (id: NetworkId) => note(`unplug ${id} of`)(),
      plug: note('plug'),
      settle: async () => {},
      openResolver: async () => {},
      forgetConnections: note('forget connections of'),
      restore: async () => {},
      close: note('close'),
    };
  }

  beforeEach(async () => {
    calls = [];
    refuses = '';
    refusesLooks = 0;
    published = new Map();
    let opened = 0;
    vi.spyOn(TaskNetwork, 'open').mockImplementation(async (_id, _path, legs) => {
      const which = ++opened;
      if (refuses === `open ${which}`) throw new Error('EMFILE');
      return fakeNetwork(which, legs) as unknown as TaskNetwork;
    });
    const tables = new ClusterTables();
    tables.apply(
      [FRONT, BACK].map((item) => set('network', item)),
      true,
    );
    tasks = new AttachedTasks({
      ...{ portsDir: await folder(), random: new SeededRandom(1), log: silentLogger, tables },
      host: {
        rules: { portTarget: () => null },
        publishTasks: async (ports: Map<string, TaskTarget | null>) => {
          for (const [key, target] of ports) published.set(key, target);
          if (refuses === 'ports') throw new Error('ENOBUFS');
        },
        gateway: { release: async () => {} },
        forgetConnections: async () => {},
      },
      overlays: { all: new Map(), recognise: () => {} },
      upkeep: { ensure: async () => {} },
      isTold: () => true,
      localHolder: () => null,
      answerFor: () => () => null,
    } as unknown as AttachedTasksOptions);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const networksNow = () => tasks.all.get(ID)?.network.legs.map(({ networkId }) => networkId);

  test('a container changes its networks, and what it left is told', async () => {
    await tasks.change(request(FRONT));
    calls = [];
    expect(await tasks.change(request(BACK))).toEqual([FRONT.id]);
    expect(networksNow()).toEqual([BACK.id]);
    expect(calls).toContain(`unplug ${FRONT.id} of 1`);
    expect(calls.at(-1)).toBe('close 1');
  });

  test('one whose change cannot begin stays as it is', async () => {
    await tasks.change(request(FRONT));
    calls = [];
    refuses = 'open 2';
    await expect(tasks.change(request(BACK))).rejects.toThrow('EMFILE');
    expect(networksNow()).toEqual([FRONT.id]);
    expect(calls).toEqual([]);
  });

  test('one whose change fails half-way is in the networks of before', async () => {
    await tasks.change(request(FRONT));
    calls = [];
    refuses = 'plug 2';
    await expect(tasks.change(request(BACK))).rejects.toThrow('EBUSY');
    expect(networksNow()).toEqual([FRONT.id]);
    const after = calls.slice(calls.indexOf(`unplug ${BACK.id} of 2`));
    expect(after).toContain('plug 1');
    expect(after.slice(-2)).toEqual(['rules of 1', 'close 2']);
    expect(tasks.all.get(ID)?.missing).toEqual(new Set());
  });

  test('connections of an adopted one are looked at with those of the others alone, also after it changed its networks', async () => {
    await tasks.adopt(request(FRONT));
    await tasks.change(request(BACK));
    const looks = () => calls.filter((call) => call.startsWith('forget connections'));
    expect(looks()).toEqual([]);
    await tasks.forgetUnseen();
    await tasks.forgetUnseen();
    expect(looks()).toEqual(['forget connections of 2']);
  });

  test('those whose connections cannot be looked at keep no other from its turn', async () => {
    const ids = Array.from({ length: 60 }, (_, i) => asId<TaskId>(`t${i}`));
    for (const taskId of ids) await tasks.adopt({ ...request(FRONT), taskId });
    refusesLooks = 50;
    await tasks.forgetUnseen();
    await tasks.forgetUnseen();
    const looks = calls.filter((call) => call.startsWith('forget connections'));
    expect(looks).toEqual(ids.slice(50).map((_, i) => `forget connections of ${51 + i}`));
  });

  test('ports whose rules could not be written are taken out with their task', async () => {
    await tasks.attach(request(FRONT));
    refuses = 'ports';
    await expect(tasks.publish(ID, [PORT])).rejects.toThrow('ENOBUFS');
    refuses = '';
    expect(await tasks.publish(ID, [PORT])).toEqual([PORT]);
    expect(published.get('sctp/48080')).toMatchObject({ kind: 'task' });
    refuses = 'ports';
    await expect(tasks.detach(ID)).rejects.toThrow('ENOBUFS');
    expect(published.get('sctp/48080')).toBeNull();
  });

  test('a link that has the name which the way out would have is no way out', async () => {
    await tasks.attach(request(FRONT));
    const task = tasks.all.get(ID)!;
    const network = { ...task.network, gatewayAddress: null } as unknown as TaskNetwork;
    expect(network.gatewayLink).toBe(network.legs[0]?.link);
    const replugged: string[] = [];
    const [subject] = subjectsOf({
      ...{ tables: new ClusterTables(), overlays: new Map(), encrypted: { active: false } },
      host: { gateway: { seat: { link: 'skep_gw', address: '172.18.0.1/16', mtu: 1500 } } },
      tasks: new Map([[ID, { ...task, network }]]),
      replug: async () => replugged.push('link'),
      replugWayOut: async () => replugged.push('way out'),
    } as unknown as NodeParts);
    await subject?.repair([{ what: FACT.link('eth1'), wanted: 'veth', found: null }]);
    expect(replugged).toEqual(['link']);
  });
});

test('a container that ended before its network was opened is told of as that', async () => {
  const opened = TaskNetwork.open(ID, '/proc/0/ns/net', [], {
    random: new SeededRandom(1),
    answer: async () => null as never,
    gatewayLink: 'eth0',
  });
  await expect(opened).rejects.toMatchObject({ code: 'conflict' });
});
