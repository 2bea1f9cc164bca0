import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { CertificateRenewal } from '../../../common/pki/certificate-renewal.ts';
import { type Identity, IdentityHolder, renewalTimeMs } from '../../../common/pki/identity.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { TestAuthority } from '../../support/identities.ts';

type Answer = (signal: AbortSignal) => Promise<Identity>;

async function scene(managers: Readonly<Record<string, Answer>>) {
  const clock = new FakeClock();
  const authority = await TestAuthority.create(clock.wallMs());
  const holder = new IdentityHolder(await authority.identity('worker', 'node'));
  const asked: string[] = [];
  const saved: Identity[] = [];
  const renewal = new CertificateRenewal({
    identity: holder,
    managers: async () => Object.keys(managers),
    request: (address, _current, signal) => {
      asked.push(address);
      return managers[address]!(signal);
    },
    save: async (identity) => {
      saved.push(identity);
    },
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
  });
  return { clock, authority, holder, asked, saved, renewal };
}

const silent: Answer = () => Promise.reject(new SkepError('unavailable', 'no answer'));
const refusing: Answer = () => Promise.reject(new SkepError('permission-denied', 'unknown node'));
const never = new AbortController().signal;

describe('certificate renewal', () => {
  test('asks one manager after the other; the new certificate is saved and used', async () => {
    let granting: NodeRole = 'manager';
    const grant: Answer = () => it.authority.identity(granting, 'node');
    const it = await scene({ a: silent, b: grant, c: grant });
    expect(await it.renewal.renew(never)).toBe('manager');
    expect(it.asked).toEqual(['a', 'b']);
    expect(it.saved).toEqual([it.holder.current]);
    granting = 'worker';
    expect(await it.renewal.renew(never)).toBe('worker');
    expect(it.holder.current.role).toBe('worker');
  });

  test('a refusal is final: no other manager is asked', async () => {
    const it = await scene({ a: refusing, b: silent });
    await expect(it.renewal.renew(never)).rejects.toThrow('unknown node');
    expect(it.asked).toEqual(['a']);
  });

  test('a certificate that comes after the abort is not saved', async () => {
    const abort = new AbortController();
    const it = await scene({
      a: async () => {
        abort.abort(new Error('left the cluster'));
        return it.authority.identity('manager', 'node');
      },
      b: silent,
    });
    await expect(it.renewal.renew(abort.signal)).rejects.toThrow('left the cluster');
    expect(it.saved).toEqual([]);
    expect(it.holder.current.role).toBe('worker');
    expect(it.asked).toEqual(['a']);
  });

  test('two renewals follow one another', async () => {
    const release: (() => void)[] = [];
    const it = await scene({
      a: async () => {
        await new Promise<void>((resolve) => release.push(resolve));
        return it.authority.identity('worker', 'node');
      },
    });
    const both = [it.renewal.renew(never), it.renewal.renew(never)];
    await settle();
    expect(it.asked).toHaveLength(1);
    release.shift()!();
    await both[0];
    await settle();
    expect(it.asked).toHaveLength(2);
    release.shift()!();
    await both[1];
  });

  test('renews when it is time, and again 5 s after a failure', async () => {
    const abort = new AbortController();
    const it = await scene({ a: silent });
    const dueMs = renewalTimeMs(it.holder.current, new SeededRandom(1)) - it.clock.wallMs();
    const kept = it.renewal.keepRenewed(abort.signal).catch((err: unknown) => err);
    await it.clock.advance(dueMs - 2_000);
    expect(it.asked).toEqual([]);
    await it.clock.advance(4_000);
    expect(it.asked).toHaveLength(1);
    await it.clock.advance(5_000);
    expect(it.asked).toHaveLength(2);
    abort.abort(new Error('over'));
    expect(await kept).toEqual(new Error('over'));
    expect(it.clock.pending).toBe(0);
  });
});
