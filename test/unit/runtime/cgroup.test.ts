import { mkdirSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseKeyed, parseLimit } from '../../../worker/runtime/cgroup/cgroup.ts';
import { parseCgroupMounts } from '../../../worker/runtime/cgroup/detect.ts';
import {
  keyedNumber,
  parseIoStat,
  parseServiceBytes,
} from '../../../worker/runtime/cgroup/stats.ts';
import { CgroupV1 } from '../../../worker/runtime/cgroup/v1.ts';
import { ioWeightOf, throttleLines, weightOfShares } from '../../../worker/runtime/cgroup/v2.ts';
import { parseNetDev } from '../../../worker/runtime/container-stats.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

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
    const { v1, v1Hierarchies, v2 } = parseCgroupMounts(HYBRID);
    expect(v1Hierarchies).toEqual([
      '/sys/fs/cgroup/systemd',
      '/sys/fs/cgroup/cpu,cpuacct',
      '/sys/fs/cgroup/memory',
    ]);
    expect(v2).toBe('/sys/fs/cgroup/unified');
    expect(Object.fromEntries(v1)).toEqual({
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
      memory: '/sys/fs/cgroup/memory',
    });
  });

  test('of a v2 machine and of one without', () => {
    const v2 = '31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
    expect(parseCgroupMounts(v2)).toEqual({
      ...{ v1: new Map(), v1Hierarchies: [], v2: '/sys/fs/cgroup' },
    });
    expect(parseCgroupMounts('')).toEqual({ v1: new Map(), v1Hierarchies: [], v2: null });
  });
});

test.each(['missing', 'THAWED', 'FROZEN'])('a v1 group whose freezer is %s', async (state) => {
  const mount = await folder();
  const mounts = ['freezer', 'memory'].map((controller) => [controller, mount] as const);
  const found = { v1: new Map(mounts), v1Hierarchies: [mount] };
  const group = new CgroupV1(found, null, 'skep', new FakeClock()).group('one');
  if (state !== 'missing') {
    mkdirSync(`${mount}/skep/one`, { recursive: true });
    writeFileSync(`${mount}/skep/one/freezer.state`, `${state}\n`);
  }
  expect(group.frozen()).toBe(state === 'FROZEN');
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

  test.each([
    [10, 1],
    [500, 4950],
    [1000, 10_000],
  ])('block IO weight %i is %i on v2', (weight, expected) => {
    expect(ioWeightOf(weight)).toBe(expected);
  });

  test('throttles of one device are one line', () => {
    const sda = { major: 8, minor: 0 };
    const lines = throttleLines({
      weight: null,
      throttleReadBpsDevice: [{ ...sda, rate: 1 }],
      throttleWriteBpsDevice: [
        { ...sda, rate: 2 },
        { major: 8, minor: 16, rate: 5 },
      ],
      throttleReadIOPSDevice: [{ ...sda, rate: 3 }],
      throttleWriteIOPSDevice: [{ ...sda, rate: 4 }],
    });
    expect(lines).toEqual(['8:0 rbps=1 wbps=2 riops=3 wiops=4', '8:16 wbps=5']);
  });

  test('one number of many is found by its whole key', () => {
    const text = 'cache 1\ninactive_file 2\ntotal_inactive_file 33\nlast 4';
    expect(keyedNumber(text, 'cache')).toBe(1);
    expect(keyedNumber(text, 'inactive_file')).toBe(2);
    expect(keyedNumber(text, 'total_inactive_file')).toBe(33);
    expect(keyedNumber(text, 'last')).toBe(4);
    expect(keyedNumber(text, 'file')).toBe(0);
    expect(keyedNumber(null, 'cache')).toBe(0);
  });

  test('bytes of block devices are added up', () => {
    const v1 = '254:0 Read 10\n254:0 Write 1\n254:0 Total 11\n7:0 Read 5\nTotal 16';
    expect(parseServiceBytes(v1)).toEqual({ readBytes: 15n, writeBytes: 1n });
    const v2 = '254:0 rbytes=10 wbytes=1 rios=9 wios=9 dbytes=9 dios=0\n7:0 rbytes=5 wbytes=0';
    expect(parseIoStat(v2)).toEqual({ readBytes: 15n, writeBytes: 1n });
    expect(parseServiceBytes('Total 0')).toEqual({ readBytes: 0n, writeBytes: 0n });
  });

  test('interfaces, without the loopback', () => {
    const text =
      'Inter-|   Receive  |  Transmit\n face |bytes ...\n' +
      '    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n' +
      '  eth0:1234 5 6 7 0 0 0 0 89 10 11 12 0 0 0 0\n';
    expect(parseNetDev(text)).toEqual([
      {
        name: 'eth0',
        receivedBytes: 1234,
        receivedPackets: 5,
        receiveErrors: 6,
        receiveDropped: 7,
        sentBytes: 89,
        sentPackets: 10,
        sendErrors: 11,
        sendDropped: 12,
      },
    ]);
  });
});
