/** A task as a node gets it: busybox that sleeps, on an overlay network or on none. */
import type { AssignedNetwork } from '../../common/model/assignment.ts';
import {
  asId,
  type NetworkId,
  type NodeId,
  type ServiceId,
  type TaskId,
} from '../../common/model/ids.ts';
import { ANYWHERE, NO_RESOURCES } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { aContainerSpec } from '../../test/support/builders.ts';

export const IMAGE = 'bench:1';

export const NETWORK: AssignedNetwork = {
  id: asId<NetworkId>('bench-network'),
  name: 'bench',
  driver: 'overlay',
  vxlanId: 4097,
  subnet: '10.77.0.0/16',
  gateway: '10.77.0.1',
  internal: false,
  ingress: false,
  mtu: 0,
  dataPathPort: 4789,
  encrypted: false,
  subnet6: '',
  local: null,
  underlayMtu: 0,
};

const CONTAINER = aContainerSpec({
  image: IMAGE,
  command: ['sleep'],
  args: ['1000000'],
  env: ['A=1'],
  stopSignal: 'SIGKILL',
});

export function benchTask(number: number, network: boolean): Task {
  const id = asId<TaskId>(`bench${String(number).padStart(20, '0')}`);
  const address = `10.77.${Math.floor(number / 200) + 1}.${(number % 200) + 2}/16`;
  return {
    id,
    meta: { version: 1, createdAtMs: 0, updatedAtMs: 0 },
    serviceId: asId<ServiceId>('bench-service'),
    slot: number,
    nodeId: asId<NodeId>('bench-node'),
    spec: {
      container: CONTAINER,
      resources: { ...NO_RESOURCES, limits: { nanoCpus: 1e9, memoryBytes: 64 << 20, pids: 100 } },
      restart: null,
      placement: ANYWHERE,
      networks: [],
      logDriver: null,
      forceUpdate: 0,
      runtime: '',
    },
    specVersion: 1,
    serviceAnnotations: { name: 'bench', labels: {} },
    status: {
      state: 'assigned',
      timestampMs: 0,
      message: '',
      err: '',
      container: null,
      hostPorts: [],
      localAddresses: [],
      appliedAtMs: 0,
    },
    desiredState: 'running',
    networks: network ? [{ networkId: NETWORK.id, addresses: [address], aliases: [] }] : [],
    endpoint: null,
    logDriver: null,
    assignedGenericResources: [],
    jobIteration: null,
    moving: null,
    hasForerunnersPlace: false,
  };
}
