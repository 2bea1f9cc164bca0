/** Which way a connection takes, as two hosts in namespaces tell it. Needs root. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { macOf, macText } from '../../native/ffi/net/address.ts';
import { inNetns, type LabHost, NetworkLab } from '../support/network-lab.ts';
import { endpoint, ingressPeers, network, port, service, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;

const INGRESS = network('ingress', 4096, 0, { ingress: true });
const FRONT = network('front', 4097, 1);

describe.skipIf(!isRoot)('the way of a connection (root only)', () => {
  let lab: NetworkLab;
  const at = (i: number) => lab.hosts[i] as LabHost;
  const mac = macText(macOf('10.0.1.12'));

  beforeAll(async () => {
    lab = await NetworkLab.create('sktr', 2);
    const clientSeat = endpoint(FRONT, 'client', 1, at(0), '10.0.1.14');
    const everything = [
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      set('endpoint', clientSeat),
      set('endpoint', endpoint(FRONT, 'web', 2, at(1), '10.0.1.12')),
      set('endpoint', endpoint(INGRESS, 'web', 2, at(1), '10.0.0.12')),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      set('serviceEntry', service(FRONT, 'idle', '10.0.1.3')),
      set('port', port('web', 8080, 80)),
    ];
    await at(0).start();
    await at(0).apply(everything, true);
    await lab.attached(at(0), 'client', [clientSeat]);
  }, 60_000);
  afterAll(() => lab?.close());

  const words = async (taskId: string, name: string) =>
    (await at(0).trace({ service: name, taskId })).map(({ step, detail, faults }) =>
      [step, detail, ...faults].join(': '),
    );

  test('from a task: name, virtual IP, tasks, and how packets get to them', async () => {
    expect(await words('task-client-1', 'web')).toEqual([
      'name: web is 10.0.1.2 in network front',
      'from: 10.0.1.14/24 on eth0',
      'balancing: virtual IP 10.0.1.2 goes to one of 10.0.1.12',
      `backend: 10.0.1.12 is web.2.task-web-2 on host ${at(1).address}`,
      `neighbour: 10.0.1.12 is ${mac}`,
      `forwarding: ${mac} is beyond ${at(1).address}`,
      `underlay: VXLAN 4097 to ${at(1).address}, not encrypted`,
    ]);
  });

  test('from a node: published ports', async () => {
    expect((await words('', 'web')).slice(0, 3)).toEqual([
      'balancing: port 8080/tcp to 80 goes to one of 10.0.0.12',
      'from: 10.0.0.2 on skep_in',
      `backend: 10.0.0.12 is web.2.task-web-2 on host ${at(1).address}`,
    ]);
  });

  test('where the way ends it says why', async () => {
    expect((await words('task-client-1', 'idle')).at(-1)).toMatch(/no task of it serves: refused/);
    expect(await words('task-client-1', 'nobody')).toEqual([
      'name: nobody: none of the networks of the task has a service of that name',
    ]);
    expect(await words('', 'idle')).toEqual([
      'port: idle: it publishes no port of every node, or has no task',
    ]);
    await expect(words('task-web-2', 'web')).rejects.toThrow('it has no network on this node');
  });

  test('what the kernel has otherwise stands at its step', async () => {
    const pin = `${at(0).dir}/netns/${FRONT.id}`;
    const entry = ['fdb', 'del', mac, 'dev', 'vx0', 'dst', at(1).address];
    // The proof may mend it before it is looked at.
    let forwarding: string | undefined;
    for (let i = 0; i < 5 && !forwarding?.includes('found absent'); i++) {
      await inNetns(pin, 'bridge', ...entry);
      forwarding = (await words('task-client-1', 'web')).find((it) => it.startsWith('forwarding'));
    }
    expect(forwarding).toBe(
      `forwarding: ${mac} is beyond ${at(1).address}: mac ${mac} beyond vx0: wanted ${at(1).address}, found absent`,
    );
  });
});
