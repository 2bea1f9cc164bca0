/**
 * The daemon dies as by kill -9 at each step and at any moment of attaching and detaching a task: the next one finishes what
 * it was told to do, leaves nothing, and gives no address twice. SKEP_PROOFS=full looks at all steps, and at more moments. Needs root.
 */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { gatewayPortName, overlayPortName } from '../../worker/network/kernel-names.ts';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
} from '../support/network-lab.ts';
import {
  attachRequest,
  endpoint,
  ingressPeers,
  network,
  port,
  service,
  set,
} from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const isFull = process.env['SKEP_PROOFS'] === 'full';
/** An attach takes some 5 ms on a quiet machine, a detach 1. */
const MOMENTS_MS = isFull ? [0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 14, 20, 40] : [0, 1.5, 3, 6, 14];
/** Of steps, every so manieth is one at which it dies. */
const STRIDE = isFull ? 1 : 7;
/** An attach and a detach have more; else steps are not counted as they should be. */
const STEPS_MIN = { attach: 15, detach: 5 };
const INGRESS = network('ingress', 4126, 0, { ingress: true });
const FRONT = network('front', 4127, 1);
const SOON = { timeout: 20_000, interval: 50 };

describe.skipIf(!isRoot)('a daemon that dies at each step of a network', () => {
  let lab: NetworkLab;
  let host: LabHost;
  let other: LabHost;
  let lasting: LabTask;
  let client: LabTask;
  const seats = () => ({
    lasting: [endpoint(FRONT, 'web', 1, host, '10.0.1.11')],
    client: [endpoint(FRONT, 'client', 1, other, '10.0.1.14')],
    short: [
      endpoint(FRONT, 'web', 2, host, '10.0.1.12'),
      endpoint(INGRESS, 'web', 2, host, '10.0.0.12'),
    ],
  });
  const shortTask = () => seats().short[0]!.taskId;
  /** The whole set of a node. @param withShort the task that comes and goes is assigned */
  const tables = (withShort: boolean) => {
    const { lasting: first, client: second, short } = seats();
    const all = [...first, ...second, ...(withShort ? short : [])];
    return [
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      ...all.map((item) => set('endpoint', item)),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      set('port', port('web', 8080, 80)),
    ];
  };

  beforeAll(async () => {
    lab = await NetworkLab.create('skfp', 2);
    [host, other] = lab.hosts as [LabHost, LabHost];
    await lab.begin(tables(true));
    [lasting, client] = await Promise.all([
      lab.attached(host, 'lasting', seats().lasting),
      lab.attached(other, 'client', seats().client),
    ]);
  }, 60_000);
  afterAll(() => lab?.close());

  /** What is told to the daemon, which dies so many milliseconds later. */
  async function dieDuring(work: Promise<unknown>, afterMs: number): Promise<void> {
    const ended = work.catch(() => {});
    const endMs = performance.now() + afterMs;
    while (performance.now() < endMs) await new Promise((resolve) => setImmediate(resolve));
    await host.crash();
    await ended;
  }

  /** Another daemon, with the tasks that the agent remembers. */
  async function comeBack(withShort: boolean): Promise<void> {
    await host.start();
    await host.adopt(attachRequest(seats().lasting, lasting));
    await host.apply(tables(withShort), true);
  }

  async function isRight(): Promise<void> {
    expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    expect(await httpFrom(client.netns, '10.0.1.11')).toBe('lasting 10.0.1.14');
    expect(await httpFrom(lasting.netns, '10.0.1.14')).toBe('client 10.0.1.11');
  }

  /** Links, rules of ports and addresses of the task that went. */
  async function nothingIsLeft(): Promise<void> {
    const id = shortTask();
    const [hostLinks, hostRules] = await Promise.all([
      inNetns(host.netns, 'ip', '-o', 'link'),
      inNetns(host.netns, 'nft', 'list', 'ruleset'),
    ]);
    expect(hostLinks).not.toContain(gatewayPortName(id));
    expect(hostRules).not.toContain(gatewayPortName(id));
    for (const { id: networkId } of [FRONT, INGRESS]) {
      const netns = `${host.dir}/netns/${networkId}`;
      expect(await inNetns(netns, 'ip', '-o', 'link')).not.toContain(overlayPortName(id));
      expect(await inNetns(netns, 'nft', 'list', 'ruleset')).not.toContain(overlayPortName(id));
    }
    expect(readdirSync(`${host.dir}/netns`).sort()).toEqual([FRONT.id, INGRESS.id].sort());
  }

  const addressesOf = async (task: LabTask): Promise<string[]> => {
    const text = await inNetns(
      task.netns,
      'ip',
      '-4',
      '-o',
      'addr',
      'show',
      'up',
      'scope',
      'global',
    );
    return [...text.matchAll(/inet (\S+)\//g)].map(([, address]) => address!);
  };

  /** The work is told to the daemon, which dies at that step of it. @returns false = it was done before, and the daemon lives */
  async function diedAt(step: number, work: () => Promise<unknown>): Promise<boolean> {
    await host.dieAtStep(step);
    try {
      await work();
    } catch (err) {
      expect((err as Error).message, `step ${step}`).toBe('host process ended');
      return true;
    }
    return false;
  }

  /** After a death in the attach, which the agent asks for once more; then the task goes. */
  async function attachIsMadeGood(task: LabTask, moment: string): Promise<void> {
    await host.crash();
    await comeBack(true);
    await host.attach(attachRequest(seats().short, task));
    expect(await httpFrom(client.netns, '10.0.1.12'), moment).toBe('short 10.0.1.14');
    expect(await httpFrom(lab.outside, other.address, 8080)).toMatch(/^(short|lasting) /);
    const [one, two] = await Promise.all([addressesOf(task), addressesOf(lasting)]);
    expect(one, moment).toHaveLength(3); // in both networks, and on the way out
    expect(new Set([...one, ...two]).size, `${moment}: ${one} ${two}`).toBe(5);
    await isRight();
    await task.end();
    await host.detach(shortTask());
    await host.apply(tables(false), true);
    await vi.waitFor(nothingIsLeft, SOON);
  }

  /** A task that is attached, and has ended. */
  async function endedTask(): Promise<void> {
    const task = await lab.task('short');
    await host.apply(tables(true), true);
    await host.attach(attachRequest(seats().short, task));
    await task.end();
  }

  async function detachIsMadeGood(): Promise<void> {
    await host.crash();
    await comeBack(false);
    await vi.waitFor(nothingIsLeft, SOON);
    await isRight();
  }

  const LIMIT = { timeout: isFull ? 900_000 : 240_000 };

  test('attach, step by step', LIMIT, async () => {
    let [step, hasDied] = [1, true];
    for (; hasDied; step += STRIDE) {
      const task = await lab.task('short');
      hasDied = await diedAt(step, () => host.attach(attachRequest(seats().short, task)));
      await attachIsMadeGood(task, `step ${step}`);
    }
    expect(step).toBeGreaterThan(STEPS_MIN.attach);
  });

  test('detach, step by step', LIMIT, async () => {
    let [step, hasDied] = [1, true];
    for (; hasDied; step += STRIDE) {
      await endedTask();
      hasDied = await diedAt(step, () => host.detach(shortTask()));
      await detachIsMadeGood();
    }
    expect(step).toBeGreaterThan(STEPS_MIN.detach);
  });

  test('attach, at moments', LIMIT, async () => {
    for (const momentMs of MOMENTS_MS) {
      const task = await lab.task('short');
      await dieDuring(host.attach(attachRequest(seats().short, task)), momentMs);
      await attachIsMadeGood(task, `${momentMs} ms`);
    }
  });

  test('detach, at moments', LIMIT, async () => {
    for (const momentMs of MOMENTS_MS) {
      await endedTask();
      await dieDuring(host.detach(shortTask()), momentMs / 4);
      await detachIsMadeGood();
    }
  });
});
