import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { addressBytes } from '../../../native/ffi/net/address.ts';
import { MessageBatch, type NetlinkMessage } from '../../../native/ffi/net/message.ts';
import { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { HostRules } from '../../../worker/network/host-rules.ts';
import { HostSide } from '../../../worker/network/host-side.ts';
import { Ipv4Forwarding } from '../../../worker/network/ipv4-forwarding.ts';
import { Ipv6Forwarding } from '../../../worker/network/ipv6-forwarding.ts';
import type { OverlayNetwork } from '../../../worker/network/overlay-network.ts';
import { PortGuard } from '../../../worker/network/port-guard.ts';
import { deafSockets } from '../../support/deaf-sockets.ts';

const OPTIONS = {
  vtepAddress: '172.30.0.1',
  gatewayPools: [],
  otherSubnets: () => [],
  forwarding: new Ipv4Forwarding('/nowhere'),
  forward6File: '/nowhere',
  random: new SeededRandom(1),
};

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [2, 'no answer'],
  [1, 'too many open files'],
])('of a host side that cannot be opened all %i sockets are closed: %s', async (openable, why) => {
  const sockets = deafSockets(openable);
  await expect(HostSide.open(OPTIONS)).rejects.toThrow(why);
  expect(sockets.closed).toBe(openable);
});

/**
 * A kernel with one link that has our address while it has a link at all. @param mtuNow null = no link
 * @param isOurs it is found by any name
 * @returns what it was asked to do, in words
 */
function kernelWith(mtuNow: () => number | null, isOurs = false) {
  const message = (type: number, header: Buffer, fill: (batch: MessageBatch) => void) => {
    header.writeUInt32LE(7, 4); // the link's index
    const payload = Buffer.concat([header, MessageBatch.attributesOf(fill)]);
    return { type, index: 0, payload };
  };
  const dump = async (): Promise<NetlinkMessage[]> => {
    const mtu = mtuNow();
    if (mtu === null) return [];
    const address = Buffer.from([2, 24, 0, 0, 0, 0, 0, 0]);
    return [
      message(16, Buffer.alloc(16), (batch) => batch.attrU32(4, mtu)),
      message(20, address, (batch) => batch.attrBytes(2, addressBytes(OPTIONS.vtepAddress))),
    ];
  };
  const asked: string[] = [];
  const transact = async ({ notes }: MessageBatch) => {
    asked.push(...notes.map(({ what }) => what));
    return isOurs ? dump() : [];
  };
  const socket = { dump, transact, close: async () => {} };
  vi.spyOn(NetlinkSocket, 'open').mockResolvedValue(socket as unknown as NetlinkSocket);
  return asked;
}

test('no gateway pool is taken that another network has', async () => {
  kernelWith(() => 1500);
  const pools = { gatewayPools: ['172.18.0.0/16'], otherSubnets: () => ['172.18.4.0/24'] };
  const host = await HostSide.open({ ...OPTIONS, ...pools });
  vi.spyOn(OPTIONS.forwarding, 'use').mockResolvedValue(undefined);
  await expect(host.ensureGateway()).rejects.toThrow('all of 1 address pools overlap');
  await host.close();
});

test('the underlay’s MTU is read anew when that is asked for, and kept while there is none', async () => {
  let mtu: number | null = 9000;
  kernelWith(() => mtu);
  const host = await HostSide.open(OPTIONS);
  expect(await host.underlayMtu()).toBe(9000);
  mtu = 1400;
  expect(await host.underlayMtu()).toBe(9000);
  expect(await host.readUnderlayMtu()).toBe(1400);
  mtu = null;
  expect(await host.readUnderlayMtu()).toBe(1400);
  expect(await host.underlayMtu()).toBe(1400);
  await host.close();
});

test('why a host is not in the ingress network is known until it is known anew', async () => {
  let mtu: number | null = 1500;
  const asked = kernelWith(() => {
    if (mtu === null) throw new Error('EINTR');
    return mtu;
  });
  vi.spyOn(OPTIONS.forwarding, 'use').mockResolvedValue(undefined);
  const host = await HostSide.open(OPTIONS);
  const seat = { address: '172.30.0.9/24', address6: undefined };
  const ensure = () => host.ensureIngress(null as unknown as OverlayNetwork, seat);
  await ensure();
  const refusal = host.ingressRefusal;
  expect(refusal).toContain('holds 172.30.0.1');
  // Of a seat of before nothing is left.
  expect(asked.at(-1)).toBe('delete rule for what comes by skep_in');
  mtu = null;
  await expect(ensure()).rejects.toThrow('EINTR');
  expect(host.ingressRefusal).toBe(refusal);
  await host.close();
});

describe('a gateway bridge that is to be a way out by IPv6, too', () => {
  /** what was done, in order; the last step is that which failed */
  let steps: string[];
  let fails: string;
  const step = (name: string) => async (): Promise<void> => {
    steps.push(name);
    if (name === fails) throw new Error('EBUSY');
  };

  beforeEach(() => {
    steps = [];
    vi.spyOn(HostRules.prototype, 'setGateway').mockImplementation(() => {
      steps.push('subnet');
    });
    vi.spyOn(HostRules.prototype, 'rebuild').mockImplementation(step('rules'));
    vi.spyOn(Ipv6Forwarding.prototype, 'enable').mockImplementation(step('forwarding'));
    vi.spyOn(PortGuard.prototype, 'rebuild').mockImplementation(step('guard'));
    vi.spyOn(OPTIONS.forwarding, 'use').mockResolvedValue(undefined);
  });

  test.each([
    ['rules', ['subnet', 'rules']],
    ['forwarding', ['subnet', 'rules', 'forwarding']],
    ['guard', ['subnet', 'rules', 'forwarding', 'guard']],
  ])('is none after a failure of its %s, and is made from the start again', async (name, done) => {
    kernelWith(() => 1500, true);
    const host = await HostSide.open(OPTIONS);
    fails = name;
    for (const _ of ['first', 'again']) {
      steps = [];
      await expect(host.ensureDualGateway()).rejects.toThrow('EBUSY');
      expect([steps, host.gateway.isDual]).toEqual([done, false]);
    }
    await host.close();
  });
});
