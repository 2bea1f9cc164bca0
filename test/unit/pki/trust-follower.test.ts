import { afterEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { TaskSet } from '../../../common/base/lifecycle.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { CertificateRenewal } from '../../../common/pki/certificate-renewal.ts';
import { type Identity, IdentityHolder, identityOf } from '../../../common/pki/identity.ts';
import { crossSign } from '../../../common/pki/issue.ts';
import { TrustFollower } from '../../../common/pki/trust-follower.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { TestAuthority } from '../../support/identities.ts';

let running: TaskSet | null = null;
afterEach(() => running?.stop());

/** A node in the midst of a rotation: what it is given comes from the next root, and leads to the former one. */
async function scene() {
  const clock = new FakeClock();
  const random = new SeededRandom(1);
  const former = await TestAuthority.create(clock.wallMs());
  const next = await TestAuthority.create(clock.wallMs() + 1, undefined, 'next');
  const { certPem } = next.authority;
  const crossed = await crossSign({ authority: former.authority, certPem, random });
  const holder = new IdentityHolder(await former.identity('worker', 'node'));
  const saved: Identity[] = [];
  let failures = 0;
  let asked = 0;
  const renewal = new CertificateRenewal({
    identity: holder,
    managers: async () => ['a'],
    request: async (_address, { rootPem }) => {
      asked++;
      if (failures-- > 0) throw new SkepError('unavailable', 'no answer');
      const { certPem: own, keyPem } = await next.identity('worker', 'node');
      return identityOf({ certPem: own + crossed, keyPem, rootPem }, clock.wallMs());
    },
    save: async (identity) => void saved.push(identity),
    ...{ clock, random, log: silentLogger },
  });
  const tasks = new TaskSet((err) => {
    throw err;
  });
  running = tasks;
  const follower = new TrustFollower({
    ...{ identity: holder, renewal, tasks, clock, random, log: silentLogger },
  });
  /** What a session says. */
  const say = async (rootCaPem: string, renewCertificate: boolean): Promise<void> => {
    follower.follow({ rootCaPem, renewCertificate });
    await settle();
    await new Promise((resolve) => setImmediate(resolve)); // keys are made by a thread of their own
    await settle();
  };
  return {
    ...{ clock, holder, saved, say },
    former: former.authority.certPem,
    next: next.authority.certPem,
    asked: () => asked,
    fail: (times: number) => {
      failures = times;
    },
  };
}

async function eventuallyRenewed({ asked }: { asked: () => number }, times: number): Promise<void> {
  while (asked() < times) await new Promise((resolve) => setImmediate(resolve));
  await settle();
}

describe('trust of a node', () => {
  test('does nothing while its root is the same and no certificate is due', async () => {
    const it = await scene();
    await it.say(it.former, false);
    await it.say('', false);
    expect([it.asked(), it.saved.length]).toEqual([0, 0]);
  });

  test('renews when told, once, and takes up the next root after that', async () => {
    const it = await scene();
    const first = it.holder.current.certPem;
    await it.say(it.former, true);
    while (it.saved.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await settle();
    expect(it.asked()).toBe(1);
    expect(it.holder.current.certPem).not.toBe(first);
    await it.say(it.next, false);
    expect(it.holder.current).toMatchObject({ rootPem: it.next, certPem: it.saved[0]!.certPem });
    expect(it.saved.at(-1)).toEqual(it.holder.current);
  });

  test('renews once more for an order that comes during a renewal, however often it is said', async () => {
    const it = await scene();
    void it.say(it.former, true);
    void it.say(it.former, false); // the first was carried out, says the leader
    void it.say(it.former, true);
    await it.say(it.former, true);
    while (it.saved.length < 2) await new Promise((resolve) => setImmediate(resolve));
    await settle();
    expect([it.asked(), it.saved.length]).toEqual([2, 2]);
  });

  test('tries no more once the managers want nothing any more', async () => {
    const it = await scene();
    it.fail(1);
    void it.say(it.former, true);
    void it.say(it.former, false);
    await eventuallyRenewed(it, 1);
    await it.clock.advance(30_000);
    await it.say(it.former, false);
    expect([it.asked(), it.clock.pending]).toEqual([1, 0]);
  });

  test('tries again when no manager answers', async () => {
    const it = await scene();
    it.fail(2);
    void it.say(it.former, true);
    await eventuallyRenewed(it, 1);
    await it.clock.advance(30_000);
    await eventuallyRenewed(it, 2);
    await it.clock.advance(30_000);
    await eventuallyRenewed(it, 3);
    while (it.saved.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(it.saved).toHaveLength(1);
  });

  test('keeps a root under which its own certificate is none, until it has one', async () => {
    const it = await scene();
    await it.say(it.next, false);
    expect(it.holder.current.rootPem).toBe(it.former);
    expect(it.saved).toEqual([]);
  });
});
