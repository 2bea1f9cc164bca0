import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SystemRandom } from '../../../common/base/random.ts';
import { MembershipFiles } from '../../../daemon/membership-files.ts';
import { TestAuthority } from '../../support/identities.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();

async function scene() {
  const dir = await newFolder();
  const authority = await TestAuthority.create(Date.UTC(2026, 0, 15));
  const identity = await authority.identity('worker', 'w1');
  return { dir, files: new MembershipFiles(dir, new SystemRandom()), identity };
}

describe('the identity on the disk', () => {
  test('is there from entering a cluster to leaving it', async () => {
    const { files, identity } = await scene();
    expect(await files.hasIdentity()).toBe(false);
    await files.saveIdentity(identity);
    expect(await files.hasIdentity()).toBe(true);
    await files.forget();
    expect(await files.hasIdentity()).toBe(false);
  });

  test('is there when its key is sealed, or the file damaged', async () => {
    const { dir, files, identity } = await scene();
    await files.saveIdentity(identity, Buffer.alloc(32, 7));
    expect(await files.hasIdentity()).toBe(true);
    await mkdir(join(dir, 'certificates'), { recursive: true });
    await writeFile(join(dir, 'certificates', 'identity.json'), '{');
    expect(await files.hasIdentity()).toBe(true);
  });
});
