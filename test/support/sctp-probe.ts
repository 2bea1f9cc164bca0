/**
 * SCTP between tasks, through a virtual IP and through published ports, by the kernel's own sockets; prints what was
 * seen, one JSON object. For a kernel that has such sockets: in a VM (test/support/cgroup2-vm) where this one has not.
 */
import { fileURLToPath } from 'node:url';
import type { PortConfig } from '../../common/model/service.ts';
import { command, type LabHost, NetworkLab, PYTHON, tryInNetns } from './network-lab.ts';
import { endpoint, ingressPeers, network, port, service, set } from './network-scene.ts';

/** What network-sctp.test.ts reads: `TASK CLIENT BYTES` of each association. */
export interface SctpReport {
  readonly outsideAddress: string;
  readonly byAddress: string;
  readonly byVirtualIp: readonly string[];
  /** from outside, by the published port of each host */
  readonly byPublishedPort: readonly string[];
  readonly byHostPort: string;
  readonly afterOneEnded: readonly string[];
}

/** More than one packet. */
const BYTES = 20_000;
const SCRIPT = fileURLToPath(new URL('network-sctp-sockets.py', import.meta.url));
const INGRESS = network('ingress', 4206, 0, { ingress: true });
const FRONT = network('front', 4207, 1);
const [PUBLISHED, ON_HOST, TARGET] = [8082, 8083, 82];

async function probe(lab: NetworkLab, script: string): Promise<SctpReport> {
  const [home, away] = lab.hosts as [LabHost, LabHost];
  const seats = {
    web1: [
      endpoint(FRONT, 'web', 1, home, '10.0.1.11'),
      endpoint(INGRESS, 'web', 1, home, '10.0.0.11'),
    ],
    web2: [
      endpoint(FRONT, 'web', 2, away, '10.0.1.12'),
      endpoint(INGRESS, 'web', 2, away, '10.0.0.12'),
    ],
    client: [endpoint(FRONT, 'client', 1, home, '10.0.1.14')],
  };
  await lab.begin([
    ...[INGRESS, FRONT].map((item) => set('network', item)),
    ...ingressPeers(INGRESS, lab.hosts),
    ...Object.values(seats)
      .flat()
      .map((item) => set('endpoint', item)),
    set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
    set('port', port('web', PUBLISHED, TARGET, 'sctp')),
  ]);
  const onHost: PortConfig = {
    ...{ name: '', protocol: 'sctp', targetPort: TARGET, publishedPort: ON_HOST },
    ...{ publishMode: 'host', hostIp: '' },
  };
  const web1 = await lab.attached(home, 'web1', seats.web1);
  const web2 = await lab.attached(away, 'web2', seats.web2, { hostPorts: [onHost] });
  const client = await lab.attached(home, 'client', seats.client);
  await lab.program(web1.netns, PYTHON, script, 'serve', `${TARGET}`, 'web1');
  await lab.program(web2.netns, PYTHON, script, 'serve', `${TARGET}`, 'web2');
  const ask = async (netns: string, address: string, at = TARGET): Promise<string> =>
    (await tryInNetns(netns, PYTHON, script, 'ask', address, `${at}`, `${BYTES}`)).trim();
  const askTwice = async (netns: string, address: string, at = TARGET): Promise<string[]> =>
    [await ask(netns, address, at), await ask(netns, address, at)].sort();

  const byAddress = await ask(client.netns, '10.0.1.12');
  const byVirtualIp = await askTwice(client.netns, '10.0.1.2');
  const byPublishedPort = [
    ...(await askTwice(lab.outside, home.address, PUBLISHED)),
    ...(await askTwice(lab.outside, away.address, PUBLISHED)),
  ];
  const byHostPort = await ask(lab.outside, away.address, ON_HOST);
  const gone = seats.web1.map((item) => set('endpoint', { ...item, serving: false }));
  await lab.everyHost((host) => host.apply(gone));
  const afterOneEnded = [
    ...(await askTwice(client.netns, '10.0.1.2')),
    ...(await askTwice(lab.outside, home.address, PUBLISHED)),
  ];
  const { outsideAddress } = lab;
  return { outsideAddress, byAddress, byVirtualIp, byPublishedPort, byHostPort, afterOneEnded };
}

await command('modprobe', 'sctp').catch(() => ''); // built in, or not to be had: then sockets are refused
const lab = await NetworkLab.create('sksc', 2);
try {
  console.log(`report ${JSON.stringify(await probe(lab, process.argv[2] ?? SCRIPT))}`);
} finally {
  await lab.close();
}
process.exit(0);
