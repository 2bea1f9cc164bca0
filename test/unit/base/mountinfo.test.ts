import { describe, expect, test } from 'vitest';
import { parseMountinfo, pointsBelow } from '../../../common/base/mountinfo.ts';

// The forms of proc(5): no tag, one, several; a blank and a backslash in a path.
const TEXT = String.raw`21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 21 0:27 / /mnt/a\040b\134c ro shared:7 master:2 - tmpfs none rw,size=1k
32 31 0:28 / /mnt/a\040b\134c/d ro master:2 - tmpfs none rw
33 21 0:29 / /mnt/a\040b\134cx ro unbindable - tmpfs none rw
`;

describe('mountinfo', () => {
  const mounts = parseMountinfo(TEXT);

  test('points, types, options and sharing are read, and paths unescaped', () => {
    const facts = mounts.map(({ point, type, device, isShared, isSlave }) => {
      return [point, type, device, isShared, isSlave];
    });
    expect(facts).toEqual([
      ['/', 'ext4', '8:1', true, false],
      ['/sys/fs/cgroup/cpu,cpuacct', 'cgroup', '0:26', false, false],
      ['/mnt/a b\\c', 'tmpfs', '0:27', true, true],
      ['/mnt/a b\\c/d', 'tmpfs', '0:28', false, true],
      ['/mnt/a b\\cx', 'tmpfs', '0:29', false, false],
    ]);
    expect(mounts[1]?.superOptions).toEqual(['rw', 'cpu', 'cpuacct']);
    expect(parseMountinfo('')).toEqual([]);
  });

  test('what lies below a path is not what has it as the beginning of its name', () => {
    expect(pointsBelow(mounts, '/mnt/a b\\c')).toEqual(['/mnt/a b\\c', '/mnt/a b\\c/d']);
    expect(pointsBelow(mounts, '/nowhere')).toEqual([]);
  });
});
