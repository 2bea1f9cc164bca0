import { describe, expect, test } from 'vitest';
import { userNamespaces } from '../../../daemon/subordinate-ids.ts';

const FILES: Readonly<Record<string, string>> = {
  passwd: 'root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/:/bin/sh\n',
  group: 'root:x:0:\nstaff:x:50:\n',
  subuid: '# ours\ndockremap:100000:65536\nanna:200000:1000\n1000:300000:64536\n',
  subgid: 'dockremap:100000:65536\nanna:1:5\nstaff:400000:65536\n',
};
const read = async (name: string) => FILES[name] ?? '';
const range = (containerID: number, hostID: number, size: number) => ({
  containerID,
  hostID,
  size,
});

describe('subordinate ids', () => {
  test('of dockremap are the default', async () => {
    const ids = [range(0, 100_000, 65_536)];
    const mappings = { uid: ids, gid: ids };
    expect(await userNamespaces('default', read)).toEqual({ remap: mappings, offered: mappings });
    expect(await userNamespaces('', read)).toEqual({ remap: null, offered: mappings });
  });

  test.each(['anna:staff', '1000:50'])(
    '%s: by name or number, ranges one behind the other',
    async (text) => {
      const { remap } = await userNamespaces(text, read);
      expect(remap).toEqual({
        uid: [range(0, 200_000, 1000), range(1000, 300_000, 64_536)],
        gid: [range(0, 400_000, 65_536)],
      });
    },
  );

  test.each([
    ['nobody', {}, '/etc/subuid has no ids for nobody'],
    ['anna:', {}, 'expected USER[:GROUP]'],
    ['a:b:c', {}, 'expected USER[:GROUP]'],
    ['anna', { subuid: 'anna:x:5\n' }, '/etc/subuid:1: no range of ids'],
    ['anna', { subuid: 'anna:4294967290:10\n' }, '/etc/subuid:1: no range of ids'],
  ])('%s is refused when %j', async (text, change, words) => {
    const files: Readonly<Record<string, string>> = { ...FILES, ...change };
    await expect(userNamespaces(text, async (name) => files[name] ?? '')).rejects.toThrow(words);
  });

  test('without the flag and without ids, those who ask are told why', async () => {
    const { remap, offered } = await userNamespaces('', async () => '');
    expect(remap).toBeNull();
    expect(offered).toMatch(/without --userns-remap, and .*dockremap:100000:65536/);
  });
});
