import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_ISOLATION, type DeviceRequest } from '../../../common/model/service.ts';
import { joinEdits, NO_EDITS, parseCdi } from '../../../worker/executor/cdi.ts';
import { deviceInventory } from '../../../worker/executor/device-inventory.ts';
import {
  devicesOfResources,
  type InventoryDevice,
  selectDevices,
} from '../../../worker/executor/device-requests.ts';
import { hostFacts } from '../../../worker/executor/host-facts.ts';
import { aContainerSpec, aTaskSpec } from '../../support/builders.ts';

function gpu(id: string, driver = 'nvidia'): InventoryDevice {
  return {
    driver,
    id,
    cdiName: `${driver}.com/gpu=${id}`,
    isGpu: true,
    shared: NO_EDITS,
    edits: NO_EDITS,
  };
}
const NIC: InventoryDevice = { ...gpu('eth', 'acme'), cdiName: 'acme.com/nic=eth', isGpu: false };
const INVENTORY = [gpu('0'), gpu('1'), gpu('all'), gpu('x', 'amd'), NIC];

function request(change: Partial<DeviceRequest> = {}): DeviceRequest {
  return { driver: '', count: 0, deviceIds: [], capabilities: [['gpu']], ...change };
}
const idsOf = (...requests: DeviceRequest[]): string[] =>
  selectDevices(requests, INVENTORY).map(({ id }) => id);

const CDI = `
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
containerEdits: {env: [SHARED=1], additionalGids: [44]}
devices:
  - name: "0"
    containerEdits:
      env: [GPU=0]
      deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null, permissions: rw}]
      mounts: [{hostPath: /usr/lib/libx.so, containerPath: /lib/libx.so, options: [ro, nosuid]}]
      hooks: [{hookName: createContainer, path: /bin/hook, args: [hook, a], timeout: 3}]
`;

describe('requests for devices', () => {
  test('get all, so many, or those that are named', () => {
    expect(idsOf(request({ count: -1 }))).toEqual(['0', '1', 'x']);
    expect(idsOf(request({ count: 2 }))).toEqual(['0', '1']);
    expect(idsOf(request({ driver: 'amd', count: -1 }))).toEqual(['x']);
    expect(idsOf(request({ count: -1, capabilities: [['tpu'], ['gpu', 'nvidia']] }))).toEqual([
      '0',
      '1',
    ]);
    expect(idsOf(request({ deviceIds: ['1', 'nvidia.com/gpu=all'] }))).toEqual(['1', 'all']);
    expect(idsOf(request({ count: 1 }), request({ deviceIds: ['0'] }))).toEqual(['0']);
    const cdi = request({ driver: 'cdi', deviceIds: ['acme.com/nic=eth'], capabilities: [] });
    expect(idsOf(cdi)).toEqual(['eth']);
  });

  test.each<[Partial<DeviceRequest>, string]>([
    [
      { count: -1, capabilities: [['tpu']] },
      'could not select device driver "" with capabilities: [[tpu]]',
    ],
    [
      { driver: 'intel', count: 1, capabilities: [['gpu', 'compute'], ['video']] },
      'could not select device driver "intel" with capabilities: [[gpu compute] [video]]',
    ],
    [{ count: 4 }, '--gpus 4: this node has 3: 0, 1'],
    [{ deviceIds: ['7'] }, '--gpus device=7: unknown device; this node has 0, 1'],
    [
      { driver: 'cdi', deviceIds: ['a.com/b=c', 'acme.com/nic=eth'] },
      'CDI device injection failed: unresolvable CDI devices a.com/b=c',
    ],
  ])('%j are told what is not there', (change, words) => {
    expect(() => idsOf(request(change))).toThrow(words);
  });

  test('without any device name the flag', () => {
    expect(() => selectDevices([request({ count: -1 })], [NIC])).toThrow(
      'could not select device driver "" with capabilities: [[gpu]] (--gpus: this node has no such device)',
    );
  });

  test('of a task are the named resources that it got', () => {
    const found = (kind: string, value: string | number) =>
      devicesOfResources([{ kind, value }], INVENTORY).map(({ id }) => id);
    expect(found('NVIDIA-GPU', '1')).toEqual(['1']);
    expect(found('gpu', 'amd.com/gpu=x')).toEqual(['x']);
    expect(found('gpu', 2)).toEqual([]);
    expect(found('ssd', '1')).toEqual([]);
    expect(found('gpu', 'eth')).toEqual([]);
  });
});

describe('CDI documents', () => {
  test('say what a container gets for a device', async () => {
    expect(await parseCdi(CDI, '/etc/cdi/x.yaml')).toEqual([
      {
        kind: 'nvidia.com/gpu',
        name: '0',
        shared: { ...NO_EDITS, env: ['SHARED=1'], gids: [44] },
        edits: {
          env: ['GPU=0'],
          gids: [],
          deviceNodes: [{ path: '/dev/gpu0', hostPath: '/dev/null', permissions: 'rw' }],
          mounts: [
            {
              hostPath: '/usr/lib/libx.so',
              containerPath: '/lib/libx.so',
              options: ['ro', 'nosuid'],
            },
          ],
          hooks: [
            {
              stage: 'createContainer',
              path: '/bin/hook',
              args: ['hook', 'a'],
              env: [],
              timeoutSeconds: 3,
            },
          ],
        },
      },
    ]);
  });

  test.each([
    ['{', 'it is neither JSON nor YAML'],
    ['[]', 'it has no kind VENDOR/CLASS'],
    ['kind: a.com/b\ndevices: [{}]', 'a device has no name'],
    ['kind: a.com/b\ncontainerEdits: {intelRdt: {}}', '"intelRdt" is not known'],
  ])('%j is none: %s', async (text, words) => {
    await expect(parseCdi(text, '/etc/cdi/x')).rejects.toThrow(`CDI document /etc/cdi/x: ${words}`);
  });
});

describe('the inventory of a node', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-inventory-'));
    for (const name of ['etc', 'run', 'dev/dri']) mkdirSync(join(dir, name), { recursive: true });
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const places = () => ({
    cdiDirs: [join(dir, 'etc'), join(dir, 'run'), join(dir, 'none')],
    dev: join(dir, 'dev'),
  });
  const found = async () => (await deviceInventory(places())).map(({ driver, id }) => [driver, id]);

  test('is what lies in /dev where no document tells more', async () => {
    expect(await found()).toEqual([]);
    writeFileSync(join(dir, 'dev/dri/renderD128'), '');
    writeFileSync(join(dir, 'dev/dri/card0'), '');
    expect(await found()).toEqual([['dri', 'renderD128']]);
    for (const name of ['nvidia10', 'nvidia2', 'nvidiactl', 'nvidia-uvm']) {
      writeFileSync(join(dir, 'dev', name), '');
    }
    expect(await found()).toEqual([
      ['nvidia', '2'],
      ['nvidia', '10'],
    ]);
    const inventory = await deviceInventory(places());
    const both = joinEdits(inventory.flatMap(({ shared, edits }) => [shared, edits]));
    expect(both.deviceNodes.map(({ path }) => path)).toEqual([
      '/dev/nvidiactl',
      '/dev/nvidia-uvm',
      '/dev/nvidia2',
      '/dev/nvidia10',
    ]);
  });

  test('is what documents tell, the later ones over the former', async () => {
    writeFileSync(join(dir, 'dev/nvidia0'), '');
    writeFileSync(join(dir, 'etc/a.yaml'), CDI);
    writeFileSync(join(dir, 'etc/readme.txt'), 'no document');
    expect(await found()).toEqual([['nvidia', '0']]);
    const later = { kind: 'nvidia.com/gpu', devices: [{ name: '0' }, { name: '1' }] };
    writeFileSync(join(dir, 'run/b.json'), JSON.stringify(later));
    const devices = await deviceInventory(places());
    expect(devices.map(({ cdiName }) => cdiName)).toEqual(['nvidia.com/gpu=0', 'nvidia.com/gpu=1']);
    expect(devices[0]?.edits).toEqual(NO_EDITS);
    writeFileSync(join(dir, 'run/c.json'), '{');
    await expect(found()).rejects.toThrow(`CDI document ${join(dir, 'run/c.json')}`);
  });

  test('is looked at for who asks, and gives nodes of this machine', async () => {
    writeFileSync(join(dir, 'etc/a.yaml'), CDI);
    const isolation = { ...DEFAULT_ISOLATION, deviceRequests: [request({ count: 1 })] };
    const spec = aTaskSpec({ container: aContainerSpec({ isolation }) });
    const { devices, edits } = await hostFacts(spec, [], places());
    expect(devices).toMatchObject([
      { device: { path: '/dev/gpu0', major: 1, minor: 3 }, access: 'rw' },
    ]);
    expect(edits.env).toEqual(['SHARED=1', 'GPU=0']);
    const byResource = await hostFacts(aTaskSpec(), [{ kind: 'gpu', value: '0' }], places());
    expect(byResource.devices).toHaveLength(1);
    writeFileSync(
      join(dir, 'etc/a.yaml'),
      `${CDI}  - {name: "1", containerEdits: {env: [GPU1=1]}}\n`,
    );
    const ids = [
      { kind: 'gpu', value: '0' },
      { kind: 'gpu', value: '1' },
    ];
    const both = await hostFacts(aTaskSpec(), ids, places());
    expect(both.edits).toMatchObject({ env: ['SHARED=1', 'GPU=0', 'GPU1=1'], gids: [44] });
    writeFileSync(join(dir, 'etc/a.yaml'), CDI.replace('/dev/null', '/dev/no-such'));
    await expect(hostFacts(spec, [], places())).rejects.toThrow(
      '--gpus: /dev/no-such is no device of this node',
    );
    writeFileSync(join(dir, 'etc/a.yaml'), '{');
    const others = [
      { kind: 'ssd', value: '1' },
      { kind: 'gpu', value: 1 },
    ];
    expect((await hostFacts(aTaskSpec(), others, places())).devices).toEqual([]);
  });
});
