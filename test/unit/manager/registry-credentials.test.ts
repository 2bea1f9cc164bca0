import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { ServiceId } from '../../../common/model/ids.ts';
import { encodeRegistryAuth, parseRegistryAuth } from '../../../common/model/registry-auth.ts';
import type { Service, ServiceSpec } from '../../../common/model/service.ts';
import {
  LOOK_PERIOD_MS,
  OPAQUE_PERIOD_MS,
  RETRY_MS,
  RegistryCredentials,
  type RegistryLogins,
} from '../../../manager/registry-credentials.ts';
import { aContainerSpec, aService, aServiceSpec, aTaskSpec, idOf } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

let store: TestStore;
let room: RegistryCredentials;
let failures: unknown[];
/** asked of registries: `domain token` */
let asked: string[];
/** what the registry gives for a token; without an entry the same */
let given: Map<string, string>;
let refusal: SkepError | null;
/** what stands for a token by now, as the node remembers it */
let replaced: Map<string, string>;
let nudges: Set<() => void>;

const byToken = (identityToken: string): string =>
  encodeRegistryAuth({ username: '', password: '', identityToken }, 'reg.example');

const byPassword = encodeRegistryAuth({ username: 'u', password: 'p' }, 'reg.example');

function spec(registryAuth: string | null): ServiceSpec {
  const container = aContainerSpec({ image: 'reg.example/app:1', registryAuth });
  return aServiceSpec({ task: aTaskSpec({ container }) });
}

async function have(name: string, changes: Partial<Service>): Promise<void> {
  const id = idOf<ServiceId>(name);
  const own = changes.spec ?? spec(null);
  await store.store.update((tx) => {
    tx.create('service', aService({ id, ...changes, spec: { ...own, name } }));
  });
}

function tokenOf(name: string, which: 'spec' | 'previousSpec' = 'spec'): string | undefined {
  const service = store.get('service', idOf<ServiceId>(name));
  const auth = service[which]?.task.container.registryAuth ?? null;
  return parseRegistryAuth(auth)?.identityToken;
}

/** As registries sign them, without the signature. Seconds from now. */
function jwt(beginS: number, endS: number): string {
  const nowS = store.clock.wallMs() / 1000;
  const body = JSON.stringify({ iat: nowS + beginS, exp: nowS + endS });
  return `e30.${Buffer.from(body).toString('base64url')}.sig`;
}

function roomWith(renew: RegistryLogins['renew']): RegistryCredentials {
  return new RegistryCredentials({
    store: store.store,
    clock: store.clock,
    logins: {
      renew,
      latest: (_, token) => replaced.get(token) ?? token,
      onReplaced: (listener) => {
        nudges.add(listener);
        return () => nudges.delete(listener);
      },
    },
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
}

beforeEach(async () => {
  store = makeStore();
  failures = [];
  asked = [];
  given = new Map();
  refusal = null;
  replaced = new Map();
  nudges = new Set();
  room = roomWith(async (domain, token) => {
    asked.push(`${domain} ${token}`);
    if (refusal) throw refusal;
    const next = given.get(token) ?? token;
    if (next !== token) replaced.set(token, next);
    return next;
  });
  await room.start();
});

afterEach(async () => {
  await room.stop();
  expect(failures).toEqual([]);
  expect(store.clock.pending).toBe(0);
});

describe('registry credentials', () => {
  test('a token is used before its end, and all services get the one that comes for it', async () => {
    const [old, next] = [jwt(0, 3000), 'next'];
    given.set(old, next);
    await have('one', { spec: spec(byToken(old)), previousSpec: spec(byToken(old)) });
    await have('two', { spec: spec(byToken(old)), previousSpec: spec(byPassword) });
    await have('three', { spec: spec(byPassword) });
    const version = store.get('service', idOf<ServiceId>('one')).specVersion;
    await store.clock.advance(1_980_000);
    expect(asked).toEqual([]);
    await store.clock.advance(LOOK_PERIOD_MS);
    expect(asked).toEqual([`reg.example ${old}`]);
    expect([tokenOf('one'), tokenOf('one', 'previousSpec'), tokenOf('two')]).toEqual([
      ...[next, next, next],
    ]);
    expect(store.get('service', idOf<ServiceId>('one')).specVersion).toBe(version);
    const three = store.get('service', idOf<ServiceId>('three')).spec.task.container;
    expect(three.registryAuth).toBe(byPassword);
  });

  test('one that does not say when it ends is used every hour', async () => {
    await have('one', { spec: spec(byToken('opaque')) });
    await store.clock.advance(OPAQUE_PERIOD_MS);
    expect(asked).toEqual([]);
    await store.clock.advance(LOOK_PERIOD_MS);
    expect(asked).toHaveLength(1);
    await store.clock.advance(OPAQUE_PERIOD_MS - 1);
    expect(asked).toHaveLength(1);
    await store.clock.advance(1);
    expect(asked).toHaveLength(2);
  });

  test('a registry that does not answer is asked again after a while', async () => {
    const old = jwt(-3000, 60);
    given.set(old, 'next');
    refusal = new SkepError('unavailable', 'connect to registry');
    await have('one', { spec: spec(byToken(old)) });
    await store.clock.advance(LOOK_PERIOD_MS + RETRY_MS - 1);
    expect(asked).toHaveLength(1);
    refusal = null;
    await store.clock.advance(1);
    expect(asked).toHaveLength(2);
    expect(tokenOf('one')).toBe('next');
  });

  test('a token that could not be written is not asked for once more', async () => {
    const old = jwt(-3000, 60);
    given.set(old, 'next');
    await have('one', { spec: spec(byToken(old)) });
    store.proposer.hold = true;
    await store.clock.advance(LOOK_PERIOD_MS);
    store.proposer.fail(new SkepError('no-leader', 'no leader'));
    store.proposer.hold = false;
    await store.clock.advance(LOOK_PERIOD_MS);
    expect(asked).toHaveLength(1);
    expect(tokenOf('one')).toBe('next');
  });

  test('one token in other words, as of another login, is renewed once', async () => {
    const old = jwt(-3000, 60);
    given.set(old, 'next');
    const login = { username: '', password: '', identityToken: old };
    const other = encodeRegistryAuth(login, 'https://reg.example');
    expect(other).not.toBe(byToken(old));
    await have('one', { spec: spec(byToken(old)) });
    await have('two', { spec: spec(other) });
    await store.clock.advance(LOOK_PERIOD_MS);
    expect(asked).toEqual([`reg.example ${old}`]);
    expect([tokenOf('one'), tokenOf('two')]).toEqual(['next', 'next']);
  });

  test('a token that a registry gave to who pulled is written at once, without another question', async () => {
    await have('one', { spec: spec(byToken('old')), previousSpec: spec(byToken('old')) });
    replaced.set('old', 'next');
    for (const nudge of nudges) nudge();
    await settle();
    expect([tokenOf('one'), tokenOf('one', 'previousSpec')]).toEqual(['next', 'next']);
    expect(asked).toEqual([]);
  });

  test('one that ends within the minute is used in time, again and again', async () => {
    const lives = [jwt(0, 30), jwt(20, 50), jwt(40, 70)];
    for (const [i, token] of lives.entries()) given.set(token, lives[i + 1] ?? 'last');
    await have('one', { spec: spec(byToken(lives[0]!)) });
    for (const nudge of nudges) nudge();
    await store.clock.advance(20_000);
    expect(tokenOf('one')).toBe(lives[1]);
    await store.clock.advance(20_000);
    expect(tokenOf('one')).toBe(lives[2]);
    await store.clock.advance(20_000);
    expect(tokenOf('one')).toBe('last');
    expect(asked).toHaveLength(3);
  });

  test('what came instead is written while a registry takes its time', async () => {
    await have('one', { spec: spec(byToken(jwt(-3000, 60))) });
    await have('two', { spec: spec(byToken('old')) });
    replaced.set('old', 'next');
    await room.stop();
    let answer = (_: string): void => {};
    room = roomWith(() => new Promise((resolve) => (answer = resolve)));
    await room.start();
    for (const nudge of nudges) nudge();
    await settle();
    expect(tokenOf('two')).toBe('next');
    answer('late');
    await settle();
    expect(tokenOf('one')).toBe('late');
  });

  test('what a user wrote meanwhile stays', async () => {
    const old = jwt(-3000, 60);
    await have('one', { spec: spec(byToken(old)) });
    await room.stop();
    room = roomWith(async () => {
      await store.store.update((tx) => {
        const service = tx.require('service', idOf<ServiceId>('one'));
        const own = { ...spec(byPassword), name: 'one' };
        tx.update('service', { ...service, spec: own });
      });
      return 'next';
    });
    await room.start();
    await store.clock.advance(LOOK_PERIOD_MS);
    expect(tokenOf('one')).toBeUndefined();
  });
});
