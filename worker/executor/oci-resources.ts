/** The resources of a task as the runtime's limits. Pure. */
import {
  type DeviceRate,
  NO_KERNEL_RESOURCES,
  type ResourceRequirements,
} from '../../common/model/service.ts';
import type { OciBlockIo, OciResources, OciThrottle } from '../runtime/oci.ts';
import type { DeviceNumber } from './host-facts.ts';

const CPU_PERIOD_US = 100_000;
const NANOS_PER_CPU = 1e9;

/** @param blockDevices every path that the throttles name */
export function resourcesOf(
  resources: ResourceRequirements,
  blockDevices: ReadonlyMap<string, DeviceNumber>,
): Partial<OciResources> {
  const { pids } = resources.limits;
  return {
    ...memoryOf(resources),
    ...cpuOf(resources),
    ...(pids > 0 && { pids: { limit: pids } }),
    ...blockIoOf(resources, blockDevices),
  };
}

function memoryOf(resources: ResourceRequirements): Pick<OciResources, 'memory'> {
  const { limits, reservations, swapBytes, memorySwappiness, kernel } = resources;
  const disableOomKiller = kernel?.oomKillDisable ?? false;
  const limit = limits.memoryBytes;
  const reservation = reservations.memoryBytes;
  const isSaid = limit > 0 || reservation > 0 || memorySwappiness !== null || disableOomKiller;
  if (!isSaid) return {};
  const swap = swapBytes === null ? null : swapBytes < 0 ? -1 : limit + swapBytes;
  return {
    memory: {
      limit: limit === 0 ? null : limit,
      swap,
      ...(reservation > 0 && { reservation }),
      ...(memorySwappiness !== null && { swappiness: memorySwappiness }),
      ...(disableOomKiller && { disableOomKiller }),
    },
  };
}

function cpuOf({ limits, kernel }: ResourceRequirements): Pick<OciResources, 'cpu'> {
  const { cpuShares, cpusetCpus, cpusetMems } = kernel ?? NO_KERNEL_RESOURCES;
  const { nanoCpus } = limits;
  if (nanoCpus === 0 && cpuShares === 0 && cpusetCpus === '' && cpusetMems === '') return {};
  return {
    cpu: {
      quota: nanoCpus === 0 ? null : Math.round((nanoCpus / NANOS_PER_CPU) * CPU_PERIOD_US),
      period: CPU_PERIOD_US,
      shares: cpuShares === 0 ? null : cpuShares,
      ...(cpusetCpus !== '' && { cpus: cpusetCpus }),
      ...(cpusetMems !== '' && { mems: cpusetMems }),
    },
  };
}

function blockIoOf(
  { kernel }: ResourceRequirements,
  blockDevices: ReadonlyMap<string, DeviceNumber>,
): Pick<OciResources, 'blockIO'> {
  if (!kernel) return {};
  const { weight, readBps, writeBps, readIops, writeIops } = kernel.blockIo;
  const throttles = (rates: readonly DeviceRate[]): OciThrottle[] =>
    rates.flatMap(({ path, rate }) => {
      const number = blockDevices.get(path);
      return number ? [{ ...number, rate }] : [];
    });
  const blockIO: OciBlockIo = {
    weight: weight === 0 ? null : weight,
    throttleReadBpsDevice: throttles(readBps),
    throttleWriteBpsDevice: throttles(writeBps),
    throttleReadIOPSDevice: throttles(readIops),
    throttleWriteIOPSDevice: throttles(writeIops),
  };
  const nothing = weight === 0 && [readBps, writeBps, readIops, writeIops].flat().length === 0;
  return nothing ? {} : { blockIO };
}
