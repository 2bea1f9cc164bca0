import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { asId, type NetworkId } from '../../../common/model/ids.ts';
import { attachmentKey, type ContainerAttachment } from '../../../common/model/node.ts';
import type { AttachmentRegistry } from '../../../worker/network/attachment-registry.ts';
import { ClusterSeats, type SeatedInCluster } from '../../../worker/network/cluster-seats.ts';
import type { TaskNetworkRequest } from '../../../worker/network/task-request.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const front = asId<NetworkId>('front');
const id = 'aa'.repeat(32);
const container = { id, name: 'shell', hostname: 'aaaa', netnsPath: '/proc/1/ns/net' };
const seat = { networkId: front, address: '', aliases: ['sh'], link: 'eth0' };

/** The managers: they give 10.0.1.2 and on, unless told otherwise. */
class FakeManagers implements AttachmentRegistry {
  said: readonly ContainerAttachment[] = [];
  calls = 0;
  problem = '';
  failure: SkepError | null = null;
  latest = 0;
  #next = 2;

  find(): Promise<never> {
    throw new Error('not asked for here');
  }

  async set(attachments: readonly ContainerAttachment[], sequence: number) {
    this.calls++;
    if (this.failure) throw this.failure;
    if (sequence <= this.latest) {
      throw new SkepError('conflict', 'late', { details: { latest: String(this.latest) } });
    }
    this.latest = sequence;
    const before = new Map(this.said.map((it) => [attachmentKey(it), it]));
    this.said = attachments.map((it) => {
      if (this.problem !== '') return { ...it, problem: this.problem };
      const known = before.get(attachmentKey(it))?.address || it.wanted;
      return { ...it, address: known || `10.0.1.${this.#next++}/24` };
    });
    return this.said;
  }
}

describe("containers' seats in the cluster", () => {
  let clock: FakeClock;
  let managers: FakeManagers;
  let seats: ClusterSeats;
  let calls: string[];
  const failures: unknown[] = [];

  beforeEach(() => {
    clock = new FakeClock();
    managers = new FakeManagers();
    calls = [];
    const tell = (what: string) => async (request: TaskNetworkRequest | string) => {
      const links = typeof request === 'string' ? [] : (request.links ?? []);
      calls.push(`${what} ${links.join()}`.trim());
    };
    seats = new ClusterSeats({
      registry: managers,
      networks: {
        adoptTask: tell('adopt'),
        changeContainer: tell('change'),
        detachTask: tell('detach'),
        answerNames: () => null,
        lookupName: () => null,
      },
      onLost: (containerId, networkId) =>
        calls.push(`lost ${containerId.slice(0, 4)} ${networkId}`),
      clock,
      random: new SeededRandom(1),
      log: silentLogger,
      onFailure: (err) => void failures.push(err),
    });
  });
  afterEach(async () => {
    await seats.stop();
    expect(failures).toEqual([]);
  });
  const rest = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await settle();
  };
  const running = (address: string): SeatedInCluster => ({
    ...container,
    seats: [{ ...seat, address }],
  });

  test('a place is asked for, plugged in, and given back when the container has ended', async () => {
    await seats.start([]);
    const address = await seats.take(container, seat);
    expect(address).toBe('10.0.1.2/24');
    await seats.plug(running(address));
    expect(managers.said).toMatchObject([{ containerId: id, aliases: ['sh'], address }]);
    await seats.detach(id);
    await rest();
    expect(managers.said).toEqual([]);
    expect(calls).toEqual(['change eth0', 'detach']);
  });

  test("the managers' refusal is told, and nothing stays", async () => {
    await seats.start([]);
    managers.problem = 'network front has no available addresses';
    await expect(seats.take(container, seat)).rejects.toMatchObject({
      cause: { message: managers.problem },
    });
    managers.problem = '';
    await rest();
    expect(managers.said).toEqual([]);
  });

  test('what ended while no manager answered is told later', async () => {
    await seats.start([]);
    await seats.take(container, seat);
    managers.failure = new SkepError('unavailable', 'nobody answers');
    seats.release(id, front);
    await rest();
    expect(managers.said).toHaveLength(1);
    managers.failure = null;
    await clock.advance(20_000);
    await rest();
    expect(managers.said).toEqual([]);
  });

  test('whoever leaves waits until that is told, but not for ever', async () => {
    await seats.start([]);
    await seats.take(container, seat);
    await seats.told(1000); // nothing is owed
    managers.failure = new SkepError('unavailable', 'nobody answers');
    seats.release(id, front);
    let told = 0;
    const count = () => told++;
    const first = seats.told(1000).then(count);
    await rest();
    expect(told).toBe(0);
    await clock.advance(1000);
    await first;
    expect(managers.said).toHaveLength(1);
    const second = seats.told(100_000).then(count);
    managers.failure = null;
    await clock.advance(20_000);
    await second;
    expect(managers.said).toEqual([]);
  });

  test('of a container that never had links there nobody asks the kernel', async () => {
    await seats.start([]);
    await seats.detach(id);
    await seats.plug(running('10.0.1.2/24'));
    await seats.plug({ ...container, seats: [] }); // it left the last of them
    await seats.detach(id);
    await seats.detach(id);
    expect(calls).toEqual(['change eth0', 'change', 'detach']);
  });

  test.each([
    [true, 0],
    [false, 1],
  ])('of no containers managers are told unless the node is new (%s)', async (isNew, told) => {
    const set = vi.spyOn(managers, 'set');
    await seats.start([], isNew);
    await rest();
    expect(set).toHaveBeenCalledTimes(told);
  });

  test('a restarted daemon takes up its containers, and tells managers of these alone', async () => {
    managers.said = [
      { ...(await ended()), containerId: 'bb'.repeat(32) },
      { ...(await ended()), address: '10.0.1.9/24' },
    ];
    await seats.start([running('10.0.1.9/24')]);
    await rest();
    expect(calls).toEqual(['adopt eth0']);
    expect(managers.said).toMatchObject([{ containerId: id, address: '10.0.1.9/24' }]);
  });

  test('a place that the managers gave to another is left', async () => {
    managers.problem = 'address 10.0.1.9 is in use';
    await seats.start([running('10.0.1.9/24')]);
    await rest();
    expect(calls).toEqual(['adopt eth0', 'lost aaaa front']);
    expect(managers.said).toEqual([]);
  });

  test('a word is never older than the one before, whatever the clock says', async () => {
    managers.latest = clock.wallMs() + 1_000_000;
    await seats.start([]);
    expect(await seats.take(container, seat)).toBe('10.0.1.2/24');
    expect(managers.latest).toBeGreaterThan(clock.wallMs() + 1_000_000);
  });

  test('a container that was renamed is known by its new name', async () => {
    await seats.start([]);
    await seats.take(container, seat);
    seats.renamed(id, 'other');
    await rest();
    expect(managers.said).toMatchObject([{ containerName: 'other', address: '10.0.1.2/24' }]);
  });

  async function ended(): Promise<ContainerAttachment> {
    return {
      ...{ networkId: front, containerId: id, containerName: 'shell', hostname: '', aliases: [] },
      ...{ wanted: '', address: '10.0.1.3/24', problem: '' },
    };
  }
});
