/**
 * What a change of the tables costs a node: one backend of a service of 1,000 replaced, 1,000 endpoints from
 * nothing, and the comparison of it all with the kernel. One task is there, in the service's network.
 */
import { SystemRandom } from '../../common/base/random.ts';
import { NETLINK_NETFILTER, NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { endpoint, network, remove, service, set } from '../../test/support/network-scene.ts';
import { TaskRules } from '../../worker/network/task-rules.ts';
import { figure } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { type BenchHost, Lab } from './lab.ts';

const BACKENDS = 1_000;
const CHANGES = 200;
const BUILDS = 5;
const WIDE = network('wide', 4097, 0, { subnet: '10.16.0.0/16', gateway: '10.16.0.1' });
const VIP = '10.16.0.2';

const addressOf = (i: number): string => `10.16.${1 + Math.floor(i / 250)}.${1 + (i % 250)}`;

export async function programming(): Promise<void> {
  const lab = await Lab.create(1);
  try {
    const [host] = lab.hosts as [BenchHost];
    await changesInOneNamespace(lab);
    const client = endpoint(WIDE, 'client', 1, host, '10.16.0.9');
    await lab.apply([
      set('network', WIDE),
      set('endpoint', client),
      set('serviceEntry', service(WIDE, 'web', VIP)),
    ]);
    await lab.attached(host, [client]);
    const elsewhere = { nodeId: 'else', address: '172.30.78.200' };
    const seat = (i: number) => endpoint(WIDE, 'web', i + 1, elsewhere, addressOf(i));
    const all = Array.from({ length: BACKENDS }, (_, i) => seat(i));
    const builds: number[] = [];
    for (let i = 0; i < BUILDS; i++) {
      const changes = all.map((item) => set('endpoint', item));
      builds.push(await host.process.ask('apply', { changes, complete: false }));
      if (i + 1 < BUILDS) {
        const gone = all.map((item) => remove('endpoint', item));
        await host.process.ask('apply', { changes: gone, complete: false });
      }
    }
    figure('endpoints_1000_build_ms', median(builds));
    const steps: number[] = [];
    for (let i = 0; i < CHANGES; i++) {
      const changes = [
        remove('endpoint', seat(i)),
        set('endpoint', { ...seat(i), address: addressOf(BACKENDS + i) }),
      ];
      steps.push(await host.process.ask('apply', { changes, complete: false }));
    }
    figure('endpoint_change_node_ms', median(steps));
    figure(
      'verify_1000_ms',
      median([await host.process.ask('verify'), await host.process.ask('verify')]),
    );
  } finally {
    await lab.close();
  }
}

/** The one transaction alone. */
async function changesInOneNamespace(lab: Lab): Promise<void> {
  const { netns } = await lab.task();
  const socket = await NetlinkSocket.open(netns, NETLINK_NETFILTER);
  const rules = new TaskRules(socket, new SystemRandom());
  const backends = Array.from({ length: BACKENDS }, (_, i) => addressOf(i));
  await rules.set(new Map([[VIP, new Set(backends)]]));
  await rules.rebuild();
  const times: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    backends[(i * 7) % BACKENDS] = addressOf(BACKENDS + i);
    const wanted = new Map([[VIP, new Set(backends)]]);
    const beganMs = performance.now();
    await rules.set(wanted);
    times.push(performance.now() - beganMs);
  }
  await socket.close();
  figure('endpoint_change_1000_ms', median(times));
}
