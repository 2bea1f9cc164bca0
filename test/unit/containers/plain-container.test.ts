import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { DEFAULT_ISOLATION, type Mount, NO_RESOURCES } from '../../../common/model/service.ts';
import type { ContainerParts, PlainRuntime } from '../../../worker/containers/container-parts.ts';
import { type ContainerDefinition, endpointsOf } from '../../../worker/containers/definition.ts';
import type { Phase } from '../../../worker/containers/lifecycle.ts';
import type { PlainContainer } from '../../../worker/containers/plain-container.ts';
import { PlainContainers } from '../../../worker/containers/plain-containers.ts';
import type { ContainerRecord } from '../../../worker/containers/record-store.ts';
import { DEFAULT_NODE_SETTINGS } from '../../../worker/executor/node-settings.ts';
import type { ContainerSeat, EndpointWish } from '../../../worker/network/container-place.ts';
import { aContainerSpec } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import {
  anImage,
  FakeImages,
  FakeRuntime,
  FakeVolumes,
  NO_HOST_FACTS,
} from '../../support/fake-container-host.ts';

/** With what only containers outside of services ask of a runtime. */
class FakePlainRuntime extends FakeRuntime implements PlainRuntime {
  async renew(id: string): Promise<void> {
    this.containers.delete(id);
    await this.create(id, {} as never);
  }
  destroy(id: string): Promise<void> {
    if (this.containers.get(id)?.state.status === 'running') this.end(id, { exitCode: 137 });
    return this.remove(id);
  }
  attach(): Promise<never> {
    return Promise.reject(new Error('not here'));
  }
  async freeze(id: string): Promise<void> {
    this.#setPaused(id, true);
  }
  async thaw(id: string): Promise<void> {
    this.#setPaused(id, false);
  }
  #setPaused(id: string, paused: boolean): void {
    const container = this.containers.get(id)!;
    container.state = { ...container.state, paused };
  }
  /** of terminals, with the state of the container then */
  readonly sizes: unknown[] = [];
  async resize(id: string, rows: number, columns: number): Promise<void> {
    this.sizes.push([rows, columns, this.containers.get(id)?.state.status]);
  }
  async updateResources(): Promise<void> {}
}

const SEAT: ContainerSeat = {
  ...{ networkId: 'bridge', name: 'bridge', aliases: [], link: 'eth0' },
  address: '172.17.0.2',
  prefixLength: 16,
  gateway: '172.17.0.1',
  mac: '02:42:ac:11:00:02',
};

function seatOf({ network, aliases }: EndpointWish): ContainerSeat {
  if (network === 'bridge') return SEAT;
  const link = 'eth1';
  return {
    ...SEAT,
    networkId: `id of ${network}`,
    name: network,
    aliases,
    link,
    address: '10.1.0.2',
  };
}

function definition(overrides: Partial<ContainerDefinition> = {}): ContainerDefinition {
  return {
    container: aContainerSpec({ image: 'box' }),
    resources: NO_RESOURCES,
    network: { kind: 'bridge' },
    ports: [],
    restart: { name: 'no', maximumRetryCount: 0 },
    autoRemove: false,
    stdinOnce: false,
    shown: { config: {}, hostConfig: {} },
    ...overrides,
  };
}

describe('container outside of services', () => {
  const signal = new AbortController().signal;
  let clock: FakeClock;
  let runtime: FakePlainRuntime;
  let records: Map<string, ContainerRecord>;
  let attached: Set<string>;
  /** what others are to call it */
  let attachedAs: string[];
  /** of the disk: every write of a record fails for which it says so */
  let isUnwritable: (record: ContainerRecord) => boolean;
  let volumes: FakeVolumes;
  let networkFailure: Error | null;
  let detachFailure: Error | null;
  /** of the container that cannot be taken off a network */
  let stuckId: string;
  /** its own events */
  let actions: string[];
  /** those and its networks', in their order */
  let told: string[];
  /** the hosts file that was written last */
  let written: string;
  let all: PlainContainers;

  /** As after a restart of the daemon: what runs and what is on disk stays. */
  let rooms = 0;
  function room(): PlainContainers {
    const images = new FakeImages();
    images.byReference.set('box', anImage());
    images.byReference.set(anImage().id, anImage());
    const parts: ContainerParts = {
      runtime,
      images,
      volumes,
      files: {
        writeNames: async (_, { hosts }) => {
          written = hosts;
          return [];
        },
        list: async () => [],
        remove: async () => {},
      },
      networks: {
        start: async (running) => {
          if (networkFailure) throw networkFailure;
          for (const { container } of running) attached.add(container.id);
        },
        isolate: async () => {},
        resolve: async (wishes) => [...wishes],
        attach: async ({ id, hostname }, wishes) => {
          attached.add(id);
          attachedAs.push(hostname);
          return { seats: wishes.map(seatOf), ports: [] };
        },
        connect: async (_, wish) => ({ seats: [SEAT, seatOf(wish)], ports: [] }),
        disconnect: async (id) => {
          if (id === stuckId) throw new Error('no buffer space available');
          return { seats: [SEAT], ports: [] };
        },
        detach: async (id) => {
          if (detachFailure) throw detachFailure;
          attached.delete(id);
        },
        renamed: () => {},
      },
      records: {
        load: async () => ({ records: [...records.values()], damaged: [] }),
        put: async (record) => {
          if (isUnwritable(record)) throw new Error('no space left on device');
          records.set(record.id, record);
        },
        remove: async (id) => {
          records.delete(id);
        },
      },
      resolveUser: async () => ({ uid: 0, gid: 0, additionalGids: [], home: '/' }),
      hostFacts: async () => NO_HOST_FACTS,
      settings: DEFAULT_NODE_SETTINGS,
      clock,
      log: silentLogger,
      tell: ({ type, action, id, attributes }) => {
        const isOwn = type === 'container';
        if (isOwn) actions.push(action);
        told.push(isOwn ? action : `${type} ${action} ${id} ${attributes['type']}`);
      },
      driverOf: (id) => (id === 'bridge' ? 'bridge' : 'macvlan'),
      hostname: () => 'machine',
      nameservers: () => [],
    };
    return new PlainContainers({
      ...parts,
      random: new SeededRandom(7 + rooms++), // the daemon after it has ids of its own
      peerOf: () => null,
      onFailure: (err) => {
        throw err;
      },
    });
  }

  beforeEach(() => {
    rooms = 0;
    clock = new FakeClock();
    runtime = new FakePlainRuntime();
    records = new Map();
    attached = new Set();
    attachedAs = [];
    isUnwritable = () => false;
    networkFailure = null;
    detachFailure = null;
    stuckId = '';
    volumes = new FakeVolumes();
    actions = [];
    told = [];
    all = room();
  });
  afterEach(() => all.stop());

  async function started(overrides: Partial<ContainerDefinition> = {}): Promise<PlainContainer> {
    const container = await all.create('web', definition(overrides));
    await container.start();
    return container;
  }

  /** Its process ends; resolves when that was dealt with. */
  async function ends(container: PlainContainer, exitCode: number): Promise<void> {
    runtime.end(container.id, { exitCode });
    await settle();
  }

  function destroyFails(): void {
    runtime.destroy = () => Promise.reject(new Error('no space left on device'));
  }

  function phaseFails(unwritable: Phase): void {
    isUnwritable = ({ phase }) => phase === unwritable;
  }

  test('is made at create, and has its place on the bridge while it runs', async () => {
    const container = await all.create(null, definition());
    expect(container.condition).toBe('created');
    expect(runtime.get(container.id)?.status).toBe('created');
    await container.start();
    expect(container.record).toMatchObject({ phase: 'running', place: { seats: [SEAT] } });
    expect([...attached]).toEqual([container.id]);
    await ends(container, 3);
    expect(container.record).toMatchObject({ phase: 'exited', place: null, exit: { exitCode: 3 } });
    expect(attached.size).toBe(0);
    expect(actions).toEqual(['create', 'start', 'die']);
  });

  test.each([
    ['by its id', {}, null],
    ['by the name that it was given', { hostname: 'box' }, 'box'],
    [
      'not by the machine’s name, which it has by itself',
      { isolation: { ...DEFAULT_ISOLATION, uts: 'host' as const } },
      null,
    ],
  ])('is called %s by others in its network', async (_how, spec, name) => {
    const container = aContainerSpec({ image: 'box', ...spec });
    const made = await all.create('web', definition({ container }));
    await made.start();
    const wanted = name ?? made.id.slice(0, 12);
    expect(attachedAs).toEqual([wanted]);
    // After a restart of the daemon, and where it is connected to another network.
    expect(made.networked?.hostname).toBe(wanted);
    expect(made.hostname).toBe('isolation' in spec ? 'machine' : wanted);
  });

  test('is not started before the streams are there that were asked for before', async () => {
    const container = await all.create('web', definition());
    let open = (): void => {};
    const session = {} as never;
    runtime.attach = () =>
      new Promise((resolve) => {
        open = () => resolve(session);
      });
    const attaching = container.attach(new AbortController().signal);
    const starting = container.start();
    await settle();
    expect(runtime.get(container.id)?.status).toBe('created');
    open();
    expect(await attaching).toBe(session);
    await starting;
    expect(runtime.get(container.id)?.status).toBe('running');
  });

  test('has its terminal’s size before its command runs, at each start', async () => {
    const container = await started({ consoleSize: [33, 77] });
    await ends(container, 0);
    await container.start();
    expect(runtime.sizes).toEqual([
      [33, 77, 'created'],
      [33, 77, 'created'],
    ]);
    runtime.resize = () => Promise.reject(new Error('of an older release'));
    await ends(container, 0);
    await container.start();
    expect(container.condition).toBe('running');
  });

  test('is started again by its rule, later each time, and rests after a stop', async () => {
    const container = await started({ restart: { name: 'always', maximumRetryCount: 0 } });
    for (const [delayMs, restartCount] of [
      [100, 1],
      [200, 2],
    ] as const) {
      await ends(container, 0);
      expect(container.record).toMatchObject({ phase: 'restarting', restartCount });
      await clock.advance(delayMs - 1);
      await settle();
      expect(container.condition).toBe('restarting');
      await clock.advance(1);
      await settle();
      expect(container.condition).toBe('running');
    }
    await container.stop({ graceMs: 0, signo: null });
    expect(container.condition).toBe('exited');
    expect(container.record.isStopped).toBe(true);
  });

  test('waits for its next start no longer when it is stopped meanwhile', async () => {
    const container = await started({ restart: { name: 'always', maximumRetryCount: 0 } });
    await ends(container, 1);
    expect(await container.stop({ graceMs: 0, signo: null })).toBe('go');
    await clock.advance(60_000);
    await settle();
    expect(container.condition).toBe('exited');
  });

  test('goes when it ends, if it was asked to; whoever waits is told its exit code', async () => {
    const container = await started({ autoRemove: true });
    const removed = container.wait('removed', signal);
    const exited = container.wait('next-exit', signal);
    await ends(container, 4);
    expect(await exited).toEqual({ exitCode: 4 });
    expect(await removed).toEqual({ exitCode: 4 });
    expect(all.list()).toEqual([]);
    expect(records.size).toBe(0);
    expect(runtime.list()).toEqual([]);
  });

  test.each([
    ['its files', () => destroyFails()],
    ['its record', () => phaseFails('removing')],
  ])(
    'that cannot be removed for %s is dead, and whoever waits for that is told why',
    async (_what, fails) => {
      const container = await started({ autoRemove: true });
      const removed = container.wait('removed', signal);
      fails();
      await ends(container, 4);
      expect(await removed).toEqual({ exitCode: 4, error: 'no space left on device' });
      expect(container.condition).toBe('dead');
    },
  );

  test('stays when it is restarted by hand, though it is to go when it ends', async () => {
    const container = await started({ autoRemove: true });
    await container.restart({ graceMs: 0, signo: null });
    await settle(); // the end of the former run is told twice
    expect(container.condition).toBe('running');
    expect(all.list()).toHaveLength(1);
  });

  test('keeps its rule after a signal that is no stop', async () => {
    const container = await started({ restart: { name: 'always', maximumRetryCount: 0 } });
    await container.kill(1, 'web');
    await settle();
    expect(container.condition).toBe('restarting');
    await clock.advance(100);
    await settle();
    await container.kill(9, 'web');
    expect(container.condition).toBe('exited');
  });

  test('that cannot be started says why, and is as it was', async () => {
    const container = await all.create('web', definition());
    runtime.startFailure = new Error('no such command');
    await expect(container.start()).rejects.toThrow('no such command');
    expect(container.record).toMatchObject({
      phase: 'created',
      place: null,
      exit: { error: 'no such command' },
    });
    runtime.startFailure = null;
    await container.start();
    expect(container.condition).toBe('running');
  });

  test('whose end cannot be written is dealt with all the same: waiters told, removed, restarted', async () => {
    const going = await started({ autoRemove: true });
    const rule = { name: 'always', maximumRetryCount: 0 } as const;
    const staying = await all.create('staying', definition({ restart: rule }));
    await staying.start();
    const removed = going.wait('removed', signal);
    const exited = staying.wait('next-exit', signal);
    isUnwritable = ({ phase }) => phase === 'exited' || phase === 'restarting';
    await ends(going, 4);
    await ends(staying, 5);
    expect(await removed).toEqual({ exitCode: 4 });
    expect(await exited).toEqual({ exitCode: 5 });
    expect(all.list()).toEqual([staying]);
    await clock.advance(100);
    await settle();
    expect(staying.condition).toBe('running');
  });

  test('is not made again before its volumes are mounted, nor without them', async () => {
    const container = await started();
    expect(volumes.calls).toEqual([]);
    await ends(container, 0);
    volumes.mountFailure = new Error('failed to mount local volume: the server is away');
    await expect(container.start()).rejects.toThrow('the server is away');
    expect(runtime.get(container.id)?.status).toBe('exited');
    expect(container.record).toMatchObject({ phase: 'exited', exit: { exitCode: 128 } });
    volumes.mountFailure = null;
    await container.start();
    expect(container.condition).toBe('running');
    expect(volumes.calls).toEqual(['mount volumes again', 'mount volumes again']);
  });

  test('is given a place in one more network while it runs, and loses it', async () => {
    const wish: EndpointWish = { network: 'front', aliases: ['db'], address: '', mac: '' };
    const container = await started();
    await container.connect(wish);
    expect(container.record.place?.seats.map(({ name }) => name)).toEqual(['bridge', 'front']);
    expect(written).toContain('10.1.0.2\t');
    await expect(container.connect(wish)).rejects.toThrow('already exists in network front');
    await container.disconnect('front');
    expect(container.record.place?.seats).toEqual([SEAT]);
    expect(written).not.toContain('10.1.0.2');
    await expect(container.disconnect('front')).rejects.toThrow(
      'is not connected to network front',
    );
  });

  test('tells which networks it is in, from before its start until after its end', async () => {
    const wish: EndpointWish = { network: 'front', aliases: [], address: '', mac: '' };
    const container = await started();
    await container.connect(wish);
    await container.disconnect('front');
    await container.connect(wish);
    await ends(container, 0);
    await container.disconnect('front');
    expect(told).toEqual([
      ...['create', 'network connect bridge bridge', 'start'],
      'network connect id of front macvlan',
      'network disconnect id of front macvlan',
      'network connect id of front macvlan',
      'die',
      'network disconnect bridge bridge',
      'network disconnect id of front macvlan',
    ]);
  });

  test('tells of a network in which it was before the daemon', async () => {
    const { id } = await started();
    await all.stop();
    all = room();
    await all.start();
    told = [];
    await ends(all.get(id)!, 0);
    expect(told).toEqual(['die', 'network disconnect bridge bridge']);
  });

  test('tells of the networks of its node that have no addresses', async () => {
    const container = await started({ network: { kind: 'none' } });
    await ends(container, 0);
    const [, connect, , , disconnect] = told;
    expect([connect, disconnect]).toEqual([
      'network connect none null',
      'network disconnect none null',
    ]);
  });

  test('tells of no network when its start failed before it was in one', async () => {
    const container = await started();
    await ends(container, 0);
    told = [];
    volumes.mountFailure = new Error('no such device');
    await expect(container.start()).rejects.toThrow('no such device');
    expect(told).toEqual([]);
  });

  test('is never written with a place that is not the one it wants', async () => {
    const wish: EndpointWish = { network: 'front', aliases: [], address: '', mac: '' };
    const container = await started();
    const written: boolean[][] = [];
    isUnwritable = ({ definition: { network }, place }) => {
      const wanted = network.kind === 'bridge' ? (network.endpoints ?? []) : [];
      const isIn = (network: string) => network === 'front';
      const wants = wanted.some((endpoint) => isIn(endpoint.network));
      written.push([wants, place?.seats.some(({ name }) => isIn(name)) ?? false]);
      return false;
    };
    await container.connect(wish);
    await container.disconnect('front');
    expect(written).toEqual([
      [true, true],
      [false, false],
    ]);
  });

  test('has the networks that it was given at rest from its next start on', async () => {
    const wish: EndpointWish = { network: 'front', aliases: [], address: '', mac: '' };
    const container = await all.create('web', definition());
    await container.connect(wish);
    expect(container.record.place).toBeNull();
    await container.start();
    expect(container.record.place?.seats.map(({ name }) => name)).toEqual(['bridge', 'front']);
    const onHost = await all.create('host', definition({ network: { kind: 'host' } }));
    await expect(onHost.connect(wish)).rejects.toThrow('cannot be connected to any other network');
  });

  test('that cannot be taken off the bridge at its end has ended all the same', async () => {
    const container = await started({ restart: { name: 'always', maximumRetryCount: 0 } });
    const exited = container.wait('next-exit', signal);
    detachFailure = new Error('netlink: no buffer space');
    await ends(container, 5);
    expect(await exited).toEqual({ exitCode: 5 });
    expect(container.condition).toBe('restarting');
    detachFailure = null;
    await clock.advance(100);
    await settle();
    expect(container.condition).toBe('running');
  });

  test('that runs is looked after though its start could not be written', async () => {
    const container = await all.create('web', definition());
    isUnwritable = ({ startedAtMs }) => startedAtMs !== null;
    await container.start();
    expect(container.condition).toBe('running');
    await ends(container, 3);
    expect(container.record).toMatchObject({ phase: 'exited', exit: { exitCode: 3 } });
  });

  test('whose start fails does not run on, and says the first reason', async () => {
    const container = await all.create('web', definition());
    const start = runtime.startContainer.bind(runtime);
    runtime.startContainer = async (id) => {
      await start(id);
      throw new Error('the shim does not answer');
    };
    isUnwritable = ({ exit }) => exit !== null;
    await expect(container.start()).rejects.toThrow('the shim does not answer');
    expect(runtime.get(container.id)?.status).toBe('exited');
    expect(container.condition).toBe('created');
  });

  test('that is removed by force is killed first, and tells of that once', async () => {
    const container = await started();
    await container.remove({ force: true, volumes: false });
    expect(actions).toEqual(['create', 'start', 'kill', 'die', 'destroy']);
    const resting = await all.create('web', definition());
    actions = [];
    await resting.remove({ force: true, volumes: false });
    expect(actions).toEqual(['destroy']);
  });

  test('is removed by force while a stop with a long grace is under way', async () => {
    const container = await started();
    runtime.ignoredSignals.add(15);
    const stop = container.stop({ graceMs: 60_000, signo: null });
    await settle();
    await container.remove({ force: true, volumes: false });
    await stop;
    expect(all.list()).toEqual([]);
    expect(actions.filter((action) => action === 'destroy')).toHaveLength(1);
  });

  test.each([
    [false, false, 'release volumes, keep anonymous'],
    [true, false, 'release volumes'],
    [false, true, 'release volumes'],
  ])('removed with -v %s, made with --rm %s: %s', async (wanted, autoRemove, done) => {
    const container = await all.create('web', definition({ autoRemove }));
    await container.remove({ force: false, volumes: wanted });
    expect(volumes.calls).toEqual([done]);
  });

  test('knows the volumes that are mounted into it by their real names', async () => {
    const mount = { type: 'volume', source: '', target: '/data/', readOnly: false } as const;
    const more = { consistency: '', bind: null, volume: null, tmpfs: null };
    const mounts = [{ ...mount, ...more } as unknown as Mount];
    const { record } = await all.create(
      'web',
      definition({ container: aContainerSpec({ image: 'box', mounts }) }),
    );
    expect(record.volumes).toEqual([
      { name: 'anonymous-1', path: '/volumes/anonymous-1', target: '/data', readOnly: false },
    ]);
  });

  test('that are at rest are pruned, but for one that starts meanwhile and one that does not go', async () => {
    const make = (name: string) => all.create(name, definition());
    const starting = await make('starting');
    const running = await started();
    const [first, kept, stuck, last] = [
      await make('first'),
      await make('kept'),
      await make('stuck'),
      await make('last'),
    ];
    const destroy = runtime.destroy.bind(runtime);
    runtime.destroy = async (id) => {
      if (id === stuck.id) throw new Error('it does not go');
      await destroy(id);
    };
    const start = starting.start();
    const sizes = async () => 5;
    const { ids: removed, bytes } = await all.prune((container) => container !== kept, sizes);
    await start;
    expect(removed).toEqual([first.id, last.id]);
    expect(bytes).toBe(10);
    expect(all.list()).toEqual([starting, running, kept, stuck]);
    expect(starting.condition).toBe('running');
  });

  test('a link goes, also of one that does not run, and is shown no more', async () => {
    const links = ['a', 'b'].map((alias) => ({ containerId: 'c'.repeat(64), alias }));
    const container = await all.create('web', { ...definition(), links });
    await container.unlink('a', { Links: ['c:b'] });
    expect(container.record.definition).toMatchObject({
      links: [{ alias: 'b' }],
      shown: { hostConfig: { Links: ['c:b'] } },
    });
    await expect(container.unlink('a', {})).rejects.toThrow('No such link: /web/a');
  });

  test('a name is one container’s, and free again when that is gone', async () => {
    const container = await all.create('web', definition());
    await expect(all.create('web', definition())).rejects.toMatchObject({ code: 'name-conflict' });
    await all.rename(container, 'other');
    const second = await all.create('web', definition());
    await second.remove({ force: false, volumes: false });
    await all.rename(container, 'web');
    expect(container.record.name).toBe('web');
  });

  test('that cannot be made leaves nothing behind', async () => {
    runtime.createFailure = new Error('broken');
    await expect(all.create('web', definition())).rejects.toThrow('broken');
    expect(records.size).toBe(0);
    runtime.createFailure = null;
    await all.create('web', definition());
  });

  test('what a failed create left goes with the next sweep, and nothing of one that is being made', async () => {
    runtime.createFailure = new Error('broken');
    const release = volumes.release.bind(volumes);
    volumes.release = () => Promise.reject(new Error('busy'));
    volumes.users.add('f'.repeat(64));
    await expect(all.create('web', definition())).rejects.toThrow('broken');
    volumes.release = release;
    runtime.createFailure = null;
    const kept = await all.create('kept', definition());
    volumes.users.add(kept.id);
    const create = runtime.create.bind(runtime);
    let swept = Promise.resolve();
    runtime.create = async (id, bundle) => {
      volumes.users.add(id); // it has its volumes, and no record yet
      swept = all.sweep();
      await swept;
      return create(id, bundle);
    };
    const made = await all.create('made', definition());
    await swept;
    expect([...volumes.users]).toEqual([kept.id, made.id]);
  });

  test('that cannot be made says why also when what it left cannot be removed', async () => {
    runtime.createFailure = new Error('broken');
    destroyFails();
    await expect(all.create('web', definition())).rejects.toThrow('broken');
  });

  describe('after a restart of the daemon', () => {
    async function reborn(): Promise<PlainContainer[]> {
      await all.stop();
      attached.clear();
      all = room();
      await all.start();
      await settle();
      return all.list();
    }

    test('runs on, with its place', async () => {
      const { id } = await started();
      const [container] = await reborn();
      expect(container?.condition).toBe('running');
      expect([...attached]).toEqual([id]);
      await ends(container!, 2);
      expect(container?.record.exit?.exitCode).toBe(2);
    });

    test('does not wait long for another whose volume is on a server that is away', async () => {
      const waiting = await started({ restart: { name: 'always', maximumRetryCount: 0 } });
      const other = await all.create('other', definition());
      await other.start();
      await ends(waiting, 1);
      await all.stop();
      all = room();
      let answer = (): void => {};
      volumes.mountAgain = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      const starting = all.start();
      await clock.advance(2000);
      await starting;
      expect(all.get(waiting.id)?.condition).toBe('restarting');
      expect(all.get(other.id)?.state?.status).toBe('running');
      answer();
      await settle();
      expect(all.get(waiting.id)?.condition).toBe('running');
    });

    test('is taken up also when the bridge cannot be', async () => {
      await started();
      networkFailure = new Error('cannot assign requested address');
      const [container] = await reborn();
      await ends(container!, 2);
      expect(container?.record.exit?.exitCode).toBe(2);
    });

    test('what a person paused is paused still; what was held for a commit is let go, tasks too', async () => {
      const paused = await started();
      const held = await all.create('held', definition());
      await held.start();
      await held.pause();
      await held.unpause();
      await paused.pause();
      runtime.addRunning('sometask');
      await runtime.freeze(held.id);
      await runtime.freeze('sometask');
      const conditions = (await reborn()).map(({ condition }) => condition);
      expect(conditions).toEqual(['paused', 'running']);
      expect(runtime.get('sometask')?.paused).toBe(false);
    });

    test.each([true, false])(
      'a removal that was cut short takes volumes along as it was told to: %s',
      async (removesVolumes) => {
        const { id, record } = await all.create('web', definition());
        records.set(id, { ...record, phase: 'removing', removesVolumes });
        expect(await reborn()).toEqual([]);
        const done = removesVolumes ? 'release volumes' : 'release volumes, keep anonymous';
        expect(volumes.calls).toEqual([done]);
      },
    );

    test('what ended meanwhile is dealt with by its rules', async () => {
      const container = await started({ restart: { name: 'on-failure', maximumRetryCount: 0 } });
      await all.stop();
      runtime.end(container.id, { exitCode: 1 });
      const [later] = await reborn();
      expect(later?.condition).toBe('restarting');
    });

    test('those that wait for servers are not waited for one after the other', async () => {
      for (const name of ['one', 'two', 'three']) {
        const { record } = await all.create(name, definition());
        records.set(record.id, { ...record, phase: 'restarting' });
      }
      await all.stop();
      all = room();
      volumes.mountAgain = () => new Promise(() => {});
      let isStarted = false;
      const starting = all.start().then(() => {
        isStarted = true;
      });
      await clock.advance(2000);
      await clock.advance(1);
      expect(isStarted).toBe(true);
      await starting;
      all = room(); // nobody waits for those
    });

    const inCluster = (network: string): ContainerDefinition['network'] => ({
      kind: 'bridge',
      endpoints: [{ network, aliases: [], address: '', mac: '', isOfCluster: true }],
    });

    /** As it is after the restart of a daemon: it ended meanwhile, and waits for the cluster. */
    async function held(name = 'web'): Promise<PlainContainer> {
      const restart = { name: 'always', maximumRetryCount: 0 } as const;
      const asked = definition({ restart, network: inCluster('front') });
      const { id } = await all.create(name, asked);
      await all.get(id)?.start();
      await all.stop();
      runtime.end(id, { exitCode: 1 });
      await reborn();
      return all.get(id)!;
    }

    test('one that was removed while it waited for the cluster is gone once', async () => {
      const container = await held();
      await container.remove({ force: true, volumes: false });
      all.resumeHeld();
      await settle();
      expect(actions.filter((action) => action === 'destroy')).toEqual(['destroy']);
    });

    test('a node that leaves its cluster takes up what waited for that, and leaves each network that it can', async () => {
      const container = await held();
      const ids: string[] = [];
      for (const name of ['stuck', 'free']) {
        const other = await all.create(name, definition({ network: inCluster('front') }));
        await other.start();
        ids.push(other.id);
      }
      stuckId = ids[0]!;
      await all.leaveCluster();
      await settle();
      expect(container.condition).toBe('restarting');
      const networks = ids.map((id) => endpointsOf(all.get(id)!.record.definition).length);
      expect(networks).toEqual([1, 0]);
    });

    test("one that is to run in a cluster's network waits for its node's part there", async () => {
      const later = await held();
      expect(later.condition).toBe('running'); // as its record has it: nobody looked yet
      all.resumeHeld();
      await settle();
      expect(later.condition).toBe('restarting');
      await clock.advance(100);
      await settle();
      expect([...attached]).toEqual([later.id]);
    });

    test('what was to go when it ends goes', async () => {
      const container = await started({ autoRemove: true });
      await all.stop();
      runtime.end(container.id);
      expect(await reborn()).toEqual([]);
    });

    test('a removal that was cut short is finished', async () => {
      const { id, record } = await all.create('web', definition());
      records.set(id, { ...record, phase: 'removing' });
      expect(await reborn()).toEqual([]);
      expect(records.size).toBe(0);
    });

    test('a start that was cut short is made', async () => {
      const { id, record } = await all.create('web', definition());
      records.set(id, { ...record, phase: 'running' });
      expect((await reborn())[0]?.condition).toBe('running');
    });

    test.each([
      ['always', 'running'],
      ['unless-stopped', 'exited'],
    ] as const)('%s, stopped by hand before, is %s', async (name, condition) => {
      const container = await started({ restart: { name, maximumRetryCount: 0 } });
      await container.stop({ graceMs: 0, signo: null });
      expect((await reborn())[0]?.condition).toBe(condition);
    });

    test('what belongs to no record goes, but for what is of tasks', async () => {
      const foreign = 'f'.repeat(64);
      runtime.addRunning(foreign);
      runtime.addRunning('sometask');
      await reborn();
      expect(runtime.list().map(({ id }) => id)).toEqual(['sometask']);
    });
  });
});
