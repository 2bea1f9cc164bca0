/** This machine as the scheduler sees it. Reads the system; remembers nothing. */

import { arch, cpus, totalmem } from 'node:os';
import { LOG_DRIVERS } from '../common/model/log-driver.ts';
import type { NodeDescription } from '../common/model/node.ts';
import { NETWORK_DRIVERS } from './network/local-network.ts';

/** Kernel names of Node's architectures. */
const KERNEL_ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  arm: 'armv7l',
  ia32: 'i686',
};

const NANOS_PER_CPU = 1e9;

/** Of this machine, as images name it. */
export const OWN_PLATFORM: NodeDescription['platform'] = {
  architecture: KERNEL_ARCHITECTURES[arch()] ?? arch(),
  os: 'linux',
};

export interface NodeFacts {
  readonly hostname: string;
  /** `IP:port` where other nodes reach this one */
  readonly address: string;
  readonly engineVersion: string;
  readonly engineLabels: Readonly<Record<string, string>>;
  readonly generic: NodeDescription['generic'];
  readonly tlsInfo: NodeDescription['tlsInfo'];
}

export function describeNode(facts: NodeFacts): NodeDescription {
  return {
    hostname: facts.hostname,
    platform: OWN_PLATFORM,
    nanoCpus: cpus().length * NANOS_PER_CPU,
    memoryBytes: totalmem(),
    generic: facts.generic,
    engineVersion: facts.engineVersion,
    engineLabels: facts.engineLabels,
    plugins: [
      ...LOG_DRIVERS.map((name) => ({ type: 'Log', name })),
      ...NETWORK_DRIVERS.map((name) => ({ type: 'Network', name })),
      { type: 'Volume', name: 'local' },
    ],
    address: facts.address,
    // Its membership knows.
    dataPathAddress: '',
    // Its networks know.
    encryptionKey: '',
    underlayMtu: 0,
    // Its worker reads them.
    devices: [],
    tlsInfo: facts.tlsInfo,
  };
}
