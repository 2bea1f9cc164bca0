import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CgroupV2 } from '../../../worker/runtime/cgroup/v2.ts';
import type { OciResources } from '../../../worker/runtime/oci.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const FILES = [
  'memory.max',
  'memory.swap.max',
  'memory.low',
  'cpu.max',
  'cpu.weight',
  'cpuset.cpus',
  'cpuset.mems',
  'pids.max',
  'io.max',
  'io.bfq.weight',
];

describe('limits in the files of cgroup v2', () => {
  let mount: string;
  let dir: string;
  beforeEach(() => {
    mount = mkdtempSync(join(tmpdir(), 'skep-cgroup-'));
    dir = join(mount, 'skep/task');
    mkdirSync(dir, { recursive: true });
    for (const file of FILES) writeFileSync(join(dir, file), '');
    for (const group of [mount, join(mount, 'skep')]) {
      writeFileSync(join(group, 'cgroup.subtree_control'), 'cpu memory pids io cpuset');
    }
  });
  afterEach(() => rmSync(mount, { recursive: true }));

  const group = () =>
    new CgroupV2(mount, 'skep', ['cpu', 'memory', 'pids', 'io', 'cpuset'], new FakeClock()).group(
      'task',
    );
  const written = () =>
    Object.fromEntries(
      FILES.map((file) => [file, readFileSync(join(dir, file), 'utf8')]).filter(([, text]) => text),
    );
  const rate = (value: number) => [{ major: 8, minor: 0, rate: value }];
  const none = {
    throttleReadBpsDevice: [],
    throttleWriteBpsDevice: [],
    throttleReadIOPSDevice: [],
    throttleWriteIOPSDevice: [],
  };

  test.each<[string, Partial<OciResources>, Record<string, string>]>([
    ['nothing', {}, {}],
    [
      'memory, without swap and with some reserved',
      { memory: { limit: 64, swap: null, reservation: 32 } },
      { 'memory.max': '64', 'memory.swap.max': '0', 'memory.low': '32' },
    ],
    [
      'swap on top of memory',
      { memory: { limit: 64, swap: 100 } },
      { 'memory.max': '64', 'memory.swap.max': '36' },
    ],
    [
      'CPUs: quota, weight and sets',
      { cpu: { quota: 50_000, period: 100_000, shares: 1024, cpus: '0-1', mems: '0' } },
      {
        'cpu.max': '50000 100000',
        'cpu.weight': '39',
        'cpuset.cpus': '0-1',
        'cpuset.mems': '0',
      },
    ],
    ['processes', { pids: { limit: 9 } }, { 'pids.max': '9' }],
    [
      'block devices',
      { blockIO: { ...none, weight: 300, throttleWriteBpsDevice: rate(5) } },
      { 'io.max': '8:0 wbps=5', 'io.bfq.weight': '300' },
    ],
  ])('%s', async (_what, resources, files) => {
    await group().create({ devices: [], ...resources });
    expect(written()).toEqual(files);
  });

  test('a change of which one part is refused changes nothing', async () => {
    const before = { memory: { limit: 64, swap: 100 }, pids: { limit: 9 } };
    await group().create({ devices: [], ...before });
    writeFileSync(join(dir, 'io.max'), '8:16 rbps=7\n8:0 rbps=max wbps=5\n');
    const was = written();
    rmSync(join(dir, 'pids.max'));
    const cpu = { quota: 50_000, period: 100_000, shares: 2, cpus: '0', mems: '0' };
    const blockIO = { ...none, weight: 300, throttleWriteBpsDevice: rate(9) };
    const change = { memory: { limit: 32, swap: 32 }, cpu, blockIO, pids: { limit: 8 } };
    await expect(group().update({ devices: [], ...change })).rejects.toThrow('set pids.max = 8');
    writeFileSync(join(dir, 'pids.max'), '9');
    // What was not given is an empty line again; of the throttles the line of the device that was changed.
    expect(written()).toEqual({
      ...was,
      'cpu.max': '\n',
      'cpu.weight': '\n',
      'cpuset.cpus': '\n',
      'cpuset.mems': '\n',
      'io.bfq.weight': '\n',
      'io.max': '8:0 rbps=max wbps=5',
    });
  });

  test('a device without throttles has none again', async () => {
    const blockIO = { ...none, weight: null, throttleWriteBpsDevice: rate(9) };
    rmSync(join(dir, 'pids.max'));
    const change = { blockIO, pids: { limit: 8 } };
    await expect(group().update({ devices: [], ...change })).rejects.toThrow('set pids.max = 8');
    expect(readFileSync(join(dir, 'io.max'), 'utf8')).toBe(
      '8:0 rbps=max wbps=max riops=max wiops=max',
    );
  });

  test.each<[Partial<OciResources>, string, string]>([
    [
      { memory: { limit: null, swap: null, swappiness: 5 } },
      '',
      'memory swappiness 5: cgroup v2 of this node has no such limit',
    ],
    [
      { memory: { limit: null, swap: null, disableOomKiller: true } },
      '',
      'OomKillDisable: the OOM killer of cgroup v2 cannot be disabled on this node',
    ],
    [
      { cpu: { quota: null, period: 100_000, shares: null, cpus: '0' } },
      'cpuset.cpus',
      'set cpuset.cpus = 0: cgroup v2 of this node has no such limit',
    ],
    [
      { blockIO: { ...none, weight: 300 } },
      'io.bfq.weight',
      'block IO weight 300: the kernel of this node has no weights',
    ],
  ])('%j is refused where it cannot be held', async (resources, missing, words) => {
    if (missing !== '') rmSync(join(dir, missing));
    await expect(group().update({ devices: [], ...resources })).rejects.toMatchObject({
      code: 'failed-precondition',
      message: words,
    });
  });
});
