/** What a service spec must obey by itself. Pure; looks nothing up. */

import { assertNever } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import { balancingOf } from '../../common/model/balancing.ts';
import { companionProblem, companionsOf } from '../../common/model/companions.ts';
import { parseConstraints } from '../../common/model/constraint.ts';
import {
  expandContainer,
  type TemplateContext,
  templateContext,
} from '../../common/model/container-template.ts';
import { fixedAddressProblem } from '../../common/model/fixed-address.ts';
import { parseHostIp, sharesPort } from '../../common/model/host-ip.ts';
import { asId, type NodeId, type ServiceId, type TaskId } from '../../common/model/ids.ts';
import { checkLogDriver } from '../../common/model/log-driver.ts';
import { checkName } from '../../common/model/names.ts';
import { predefinedNetworkProblem } from '../../common/model/predefined-networks.ts';
import {
  type EndpointSpec,
  isJob,
  MEMORY_BYTES_MIN,
  type PortConfig,
  type ResourceRequirements,
  type RestartPolicy,
  type ServiceSpec,
  type TaskSpec,
  type UpdateConfig,
} from '../../common/model/service.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import { checkContainerSpec } from './container-rules.ts';
import { checkKernelResources } from './isolation-rules.ts';
import { invalid, notDone } from './refusal.ts';

const NANO_CPUS_MIN = 1e6;
/** Of a limit, as Docker's nodes have it: less does not hold a process that is just starting. */
const MEMORY_LIMIT_BYTES_MIN = 6 * 1024 * 1024;
const SWAPPINESS_MAX = 100;
const PORT_MAX = 65_535;
/** Of one service. A manager holds about 7 KB for each task (docs/decisions/0035). */
const TASKS_MAX = 100_000;

/** Throws `invalid-argument`, or `unimplemented` for what is not done. */
export function checkServiceSpec(spec: ServiceSpec): void {
  checkName(spec.name);
  checkTaskSpec(spec.task);
  checkContainerSpec(expandContainer(spec.task.container, sampleContext(spec)), spec.task.networks);
  checkMode(spec);
  checkUpdate('update', spec.update);
  checkUpdate('rollback', spec.rollback);
  checkEndpoint(spec.endpoint);
  checkPredefinedNetworks(spec);
  checkCompanions(spec);
  checkFixedAddresses(spec);
  balancingOf(spec.labels);
  checkSize(`service ${spec.name}: spec`, spec);
}

function checkPredefinedNetworks({ task, endpoint }: ServiceSpec): void {
  if (task.networks.some(({ target }) => target === 'bridge')) {
    throw notDone('network "bridge": services in the bridge of their node are');
  }
  const problem = predefinedNetworkProblem(task.networks, endpoint.ports);
  if (problem !== null) throw invalid(problem);
}

function checkCompanions({ name, task }: ServiceSpec): void {
  for (const companion of companionsOf(task).values()) checkName(companion);
  const problem = companionProblem(name, task);
  if (problem !== null) throw invalid(problem);
}

function checkFixedAddresses({ task: { networks }, mode, update, rollback }: ServiceSpec): void {
  const orders = [update?.order, rollback?.order];
  const replicas = mode.kind === 'replicated' ? mode.replicas : null;
  const problem = fixedAddressProblem({ networks, replicas, orders });
  if (problem !== null) throw invalid(problem);
}

/** Templates are tried on a task that could be, so that an unknown field is told now and not on a node. */
function sampleContext({ name, labels }: ServiceSpec): TemplateContext {
  const task = {
    id: asId<TaskId>('taskid'),
    slot: 1,
    nodeId: asId<NodeId>('nodeid'),
    serviceId: asId<ServiceId>('serviceid'),
    serviceAnnotations: { name, labels },
  };
  const platform = { architecture: 'architecture', os: 'os' };
  return templateContext(task, { hostname: 'hostname', platform });
}

function checkTaskSpec(task: TaskSpec): void {
  if (task.runtime !== '' && task.runtime !== 'container') {
    throw notDone(`runtime "${task.runtime}": services other than of containers are`);
  }
  checkResources(task.resources);
  if (task.restart) checkRestart(task.restart);
  parseConstraints(task.placement.constraints);
  if (task.placement.maxReplicas < 0) {
    throw invalid('Placement: max replicas per node cannot be negative');
  }
  if (task.logDriver) checkLogDriver(task.logDriver);
}

/** Throws `invalid-argument`. */
export function checkResources(resources: ResourceRequirements): void {
  for (const { nanoCpus, memoryBytes } of [resources.limits, resources.reservations]) {
    if (nanoCpus !== 0 && nanoCpus < NANO_CPUS_MIN) {
      throw invalid(`invalid cpu value ${nanoCpus / 1e9}: Must be at least ${NANO_CPUS_MIN / 1e9}`);
    }
    if (memoryBytes !== 0 && memoryBytes < MEMORY_BYTES_MIN) {
      throw invalid(`invalid memory value ${memoryBytes}: Must be at least 4MiB`);
    }
  }
  const limitBytes = resources.limits.memoryBytes;
  if (limitBytes !== 0 && limitBytes < MEMORY_LIMIT_BYTES_MIN) {
    throw invalid(`Limits.MemoryBytes ${limitBytes}: Minimum memory limit allowed is 6MB`);
  }
  if (resources.limits.pids < 0) throw invalid('invalid pids limit: it cannot be negative');
  for (const { kind, value } of resources.reservations.generic) {
    if (kind === '') throw invalid('invalid generic resource: its kind is empty');
    if (typeof value === 'string') {
      throw invalid(`invalid generic resource ${kind}: only discrete counts can be reserved`);
    }
    if (value < 0) throw invalid(`invalid generic resource ${kind}: ${value} is negative`);
  }
  const { swapBytes, memorySwappiness } = resources;
  if (swapBytes !== null && resources.limits.memoryBytes === 0) {
    throw invalid('setting a swap limit needs a memory limit');
  }
  if (swapBytes !== null && swapBytes < -1) throw invalid(`invalid swap bytes ${swapBytes}`);
  const swappiness = memorySwappiness ?? 0;
  if (swappiness < 0 || swappiness > SWAPPINESS_MAX) {
    throw invalid(`invalid memory swappiness ${swappiness}: must be between 0 and 100`);
  }
  checkKernelResources(resources.kernel);
}

function checkRestart(restart: RestartPolicy): void {
  if (restart.delayNanos < 0) throw invalid('TaskSpec: restart-delay cannot be negative');
  if (restart.windowNanos < 0) throw invalid('TaskSpec: restart-window cannot be negative');
  if (restart.maxAttempts < 0) throw invalid('TaskSpec: restart-max-attempts cannot be negative');
}

function checkUpdate(kind: 'update' | 'rollback', config: UpdateConfig | null): void {
  if (!config) return;
  if (config.parallelism < 0) throw invalid(`TaskSpec: ${kind}-parallelism cannot be negative`);
  if (config.delayNanos < 0) throw invalid(`TaskSpec: ${kind}-delay cannot be negative`);
  if (config.monitorNanos < 0) throw invalid(`TaskSpec: ${kind}-monitor cannot be negative`);
  if (!(config.maxFailureRatio >= 0 && config.maxFailureRatio <= 1)) {
    throw invalid(`TaskSpec: ${kind}-maxfailureratio cannot be less than 0 or bigger than 1`);
  }
  if (kind === 'rollback' && config.failureAction === 'rollback') {
    throw invalid('TaskSpec: rollback-failureaction cannot be rollback');
  }
}

function checkMode({ mode, update, rollback }: ServiceSpec): void {
  if (isJob(mode)) {
    if (update) throw invalid('Jobs may not have an update config');
    if (rollback) throw invalid('Jobs may not have a rollback config');
  }
  switch (mode.kind) {
    case 'replicated':
      checkCount('Number of replicas must be non-negative', mode.replicas);
      return;
    case 'replicated-job':
      checkCount('Maximum concurrent jobs must not be negative', mode.maxConcurrent);
      checkCount('Total completed jobs must not be negative', mode.totalCompletions);
      return;
    case 'global':
    case 'global-job':
      return;
    default:
      assertNever(mode, 'service mode');
  }
}

function checkCount(rule: string, count: number): void {
  if (count < 0) throw invalid(rule);
  if (count > TASKS_MAX) {
    throw invalid(`${count} tasks: a service may have ${TASKS_MAX} or fewer`);
  }
}

function checkEndpoint(endpoint: EndpointSpec): void {
  const published: PortConfig[] = [];
  for (const port of endpoint.ports) {
    checkPort(port);
    if (port.publishMode === 'ingress' && endpoint.mode === 'dnsrr') {
      throw invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
    }
    if (port.publishedPort === 0) continue;
    if (published.some((other) => sharesPort(other, port))) {
      throw invalid(
        `EndpointSpec: duplicate published ports provided: ${port.publishedPort}/${port.protocol}`,
      );
    }
    published.push(port);
  }
}

function checkPort({ targetPort, publishedPort, publishMode, hostIp }: PortConfig): void {
  if (!Number.isInteger(targetPort) || targetPort < 1 || targetPort > PORT_MAX) {
    throw invalid(`EndpointSpec: target port ${targetPort} is not in 1..${PORT_MAX}`);
  }
  if (!Number.isInteger(publishedPort) || publishedPort < 0 || publishedPort > PORT_MAX) {
    throw invalid(`EndpointSpec: published port ${publishedPort} is not in 0..${PORT_MAX}`);
  }
  if (parseHostIp(hostIp) !== hostIp) {
    throw invalid(`EndpointSpec: address '${hostIp}' is written '${parseHostIp(hostIp)}'`);
  }
  if (publishMode === 'host' && hostIp.includes(':')) {
    throw notDone(
      `EndpointSpec: port ${publishedPort} of mode host at ${hostIp}: IPv6 addresses there are`,
    );
  }
}

/** What an update may not change. Throws `unimplemented`. */
export function checkSpecChange(from: ServiceSpec, to: ServiceSpec): void {
  if (from.name !== to.name) {
    throw new SkepError('unimplemented', 'renaming services is not supported');
  }
  if (from.mode.kind !== to.mode.kind) {
    throw new SkepError('unimplemented', 'service mode change is not allowed');
  }
}
