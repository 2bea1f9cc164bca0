import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  loadIdentity,
  remainingMs,
  removeIdentity,
  saveIdentity,
} from '../../../common/pki/identity.ts';
import { TestAuthority } from '../../support/identities.ts';

const NOW_MS = Date.UTC(2026, 0, 15);
const DAY_MS = 24 * 3600 * 1000;
let directory = '';

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'skep-identity-')), 'certificates');
});

afterEach(() => rm(join(directory, '..'), { recursive: true }));

describe('a saved identity', () => {
  test('is read back, readable by its owner alone, also over an older one', async () => {
    const authority = await TestAuthority.create(NOW_MS);
    expect(await loadIdentity(directory)).toBe(null);
    for (const role of ['worker', 'manager'] as const) {
      const identity = await authority.identity(role, 'node-1');
      await saveIdentity(directory, identity);
      expect((await loadIdentity(directory))!.open(null)).toEqual(identity);
    }
    expect(await readdir(directory)).toEqual(['identity.json']);
    expect((await stat(join(directory, 'identity.json'))).mode & 0o777).toBe(0o600);
    await removeIdentity(directory);
    expect(await loadIdentity(directory)).toBe(null);
  });

  test('survives the remains of a crashed write', async () => {
    const authority = await TestAuthority.create(NOW_MS);
    const identity = await authority.identity('worker', 'node-1');
    await saveIdentity(directory, identity);
    await writeFile(join(directory, 'identity.json.tmp'), '{"half', { mode: 0o644 });
    expect((await loadIdentity(directory))!.open(null)).toEqual(identity);
    await saveIdentity(directory, identity);
    expect((await stat(join(directory, 'identity.json'))).mode & 0o777).toBe(0o600);
  });

  test('may be sealed: then the certificate is seen, and its key only with the right one', async () => {
    const authority = await TestAuthority.create(NOW_MS);
    const identity = await authority.identity('manager', 'node-1');
    const random = new SeededRandom(3);
    const key = random.bytes(32);
    await saveIdentity(directory, identity, { key, random });
    const text = await readFile(join(directory, 'identity.json'), 'utf8');
    expect(text).not.toContain('PRIVATE KEY');
    const stored = (await loadIdentity(directory))!;
    expect(stored).toMatchObject({ isSealed: true, nodeId: 'node-1', role: 'manager' });
    expect(stored.open(key)).toEqual(identity);
    for (const wrong of [null, random.bytes(32)]) {
      expect(() => stored.open(wrong)).toThrow(expect.objectContaining({ code: 'data-loss' }));
    }
    await saveIdentity(directory, identity);
    expect((await loadIdentity(directory))!.isSealed).toBe(false);
  });

  test('that is damaged is told, and an expired one is still read', async () => {
    const authority = await TestAuthority.create(NOW_MS - 100 * DAY_MS);
    const identity = await authority.identity('worker', 'node-1');
    await saveIdentity(directory, identity);
    expect(remainingMs((await loadIdentity(directory))!.open(null), NOW_MS)).toBe(-10 * DAY_MS);
    const path = join(directory, 'identity.json');
    const other = await authority.identity('worker', 'node-2');
    const mixed = { ...JSON.parse(await readFile(path, 'utf8')), keyPem: other.keyPem };
    for (const text of ['', '{}', JSON.stringify(mixed)]) {
      await writeFile(path, text);
      await expect(loadIdentity(directory)).rejects.toMatchObject({ code: 'data-loss' });
    }
  });
});
