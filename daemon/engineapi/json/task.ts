/** Tasks: our model as Docker's JSON. */
import type { Network } from '../../../common/model/network.ts';
import { addressesIn, type Task, type TaskStatus } from '../../../common/model/task.ts';
import { isoTime } from './common.ts';
import { ipv6Of, networkToJson } from './network.ts';
import { genericToJson, portToJson, taskSpecToJson } from './service.ts';
import { some } from './some.ts';

/** @param networkOf the networks that the task is attached to; a removed one is left out */
export function taskToJson(task: Task, networkOf: (id: string) => Network | undefined): object {
  const generic = task.assignedGenericResources.map(genericToJson);
  return {
    ID: task.id,
    Version: { Index: task.meta.version },
    CreatedAt: isoTime(task.meta.createdAtMs),
    UpdatedAt: isoTime(task.meta.updatedAtMs),
    Labels: {}, // a task has none of its own; those of its service are in the service
    Spec: taskSpecToJson(task.spec),
    ServiceID: task.serviceId,
    ...(task.slot === null ? {} : { Slot: task.slot }), // 0 is a slot: the first one of a job
    ...some('NodeID', task.nodeId ?? ''),
    Status: statusToJson(task.status),
    DesiredState: task.desiredState,
    // Docker's documents have the one name, its engine and clients the other.
    ...some('AssignedGenericResources', generic),
    ...some('GenericResources', generic),
    ...(task.jobIteration === null ? {} : { JobIteration: { Index: task.jobIteration } }),
    NetworksAttachments: task.networks.flatMap(({ networkId }) => {
      const network = networkOf(networkId);
      if (!network) return [];
      const addresses = addressesIn(task, networkId);
      const all = [...addresses, ...ipv6Of(network, addresses)];
      return [{ Network: attachedNetworkToJson(network), Addresses: all }];
    }),
  };
}

function statusToJson(status: TaskStatus): object {
  const { container } = status;
  return {
    Timestamp: isoTime(status.timestampMs),
    State: status.state,
    Message: status.message,
    ...some('Err', status.err),
    ...(container && {
      ContainerStatus: {
        ContainerID: container.containerId,
        PID: container.pid,
        ExitCode: container.exitCode,
      },
    }),
    PortStatus: some('Ports', status.hostPorts.map(portToJson)),
  };
}

/** The network as the swarm object that it is (not the engine's view of it). */
function attachedNetworkToJson(network: Network): object {
  const { spec } = network;
  const { IPAM } = networkToJson(network) as { IPAM: { Driver: string; Config: object[] } };
  return {
    ID: network.id,
    Version: { Index: network.meta.version },
    CreatedAt: isoTime(network.meta.createdAtMs),
    UpdatedAt: isoTime(network.meta.updatedAtMs),
    Spec: {
      Name: spec.name,
      Labels: spec.labels,
      DriverConfiguration: { Name: spec.driver, ...some('Options', spec.driverOptions) },
      ...some('Ingress', spec.ingress),
      ...some('Internal', spec.internal),
      ...some('IPv6Enabled', spec.ipv6),
      ...some('Attachable', spec.attachable),
      ...(spec.configFrom !== '' && { ConfigFrom: { Network: spec.configFrom } }),
      Scope: 'swarm',
    },
    DriverState: {
      Name: spec.driver,
      ...(network.vxlanId === null
        ? {}
        : {
            Options: {
              'com.docker.network.driver.overlay.vxlanid_list': String(network.vxlanId),
            },
          }),
    },
    IPAMOptions: { Driver: { Name: IPAM.Driver }, Configs: IPAM.Config },
  };
}
