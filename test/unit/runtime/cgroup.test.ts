import { describe, expect, test } from 'vitest';
import { parseKeyed, parseLimit } from '../../../worker/runtime/cgroup/cgroup.ts';
import { parseCgroupMounts } from '../../../worker/runtime/cgroup/detect.ts';
import { weightOfShares } from '../../../worker/runtime/cgroup/v2.ts';

const HYBRID = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 30 0:30 / /mnt/again rw - cgroup cgroup rw,memory
`;

describe('cgroup mounts', () => {
  test('of a hybrid machine, the first mount of each hierarchy', () => {
    const { v1, v2 } = parseCgroupMounts(HYBRID);
    expect(v2).toBe('/sys/fs/cgroup/unified');
    expect(Object.fromEntries(v1)).toEqual({
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
      memory: '/sys/fs/cgroup/memory',
    });
  });

  test('of a v2 machine and of one without', () => {
    const v2 = '31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
    expect(parseCgroupMounts(v2)).toEqual({ v1: new Map(), v2: '/sys/fs/cgroup' });
    expect(parseCgroupMounts('')).toEqual({ v1: new Map(), v2: null });
  });
});

describe('cgroup values', () => {
  test.each([
    ['max', null],
    ['9223372036854771712', null],
    ['67108864', 67108864],
    [null, null],
  ])('limit %j is %j', (text, limit) => {
    expect(parseLimit(text)).toBe(limit);
  });

  test('keyed lines', () => {
    const values = parseKeyed('oom_kill_disable 0\nunder_oom 0\noom_kill 3');
    expect(values.get('oom_kill')).toBe(3n);
    expect(parseKeyed(null).size).toBe(0);
  });

  test.each([
    [2, 1],
    [1024, 39],
    [262_144, 10_000],
    [1, 1],
  ])('%i shares are weight %i', (shares, weight) => {
    expect(weightOfShares(shares)).toBe(weight);
  });
});
