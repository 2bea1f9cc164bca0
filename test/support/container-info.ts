/** A container of a node as the API is shown it. */
import { DEFAULT_LOG_DRIVER } from '../../common/model/log-driver.ts';
import type { ContainerInfo } from '../../worker/container-view.ts';
import type { ContainerStats } from '../../worker/runtime/container-stats.ts';
import { aTaskSpec } from './builders.ts';

/** One that runs and is nobody's; its id begins with its name. */
export function aContainerInfo(overrides: Partial<ContainerInfo> = {}): ContainerInfo {
  const name = overrides.name ?? 'c';
  const id = overrides.id ?? name.padEnd(64, '0');
  return {
    ...{ id, name, runtimeId: name, hostname: id.slice(0, 12), spec: aTaskSpec({}) },
    ...{ labels: {}, attributes: {}, image: null, condition: 'running', pid: 7 },
    ...{ createdAtMs: 1, startedAtMs: 2, exit: null, restartCount: 0, health: null },
    ...{ networks: [], ports: [], volumes: [], task: null, plain: null, shown: null },
    logDriver: DEFAULT_LOG_DRIVER,
    ...overrides,
  };
}

/** Of one whose counters all differ. */
export function aContainerStats(overrides: Partial<ContainerStats> = {}): ContainerStats {
  return {
    ...{ cpuUsageNanos: 7n, cpuUserNanos: 3n, cpuSystemNanos: 4n },
    ...{ throttledPeriods: 0, throttledNanos: 0n },
    ...{ memoryUsageBytes: 200, memoryInactiveFileBytes: 50 },
    ...{ memoryMaxUsageBytes: null, memoryLimitBytes: 500, pids: 3, pidsLimit: null },
    blockIo: { readBytes: 11n, writeBytes: 12n },
    networks: [
      {
        name: 'eth0',
        ...{ receivedBytes: 21, receivedPackets: 1, receiveErrors: 0, receiveDropped: 0 },
        ...{ sentBytes: 22, sentPackets: 1, sendErrors: 0, sendDropped: 0 },
      },
    ],
    ...overrides,
  };
}
