/** Objects as users may see them: without keys, secret data and registry credentials. */
import type { Cluster } from '../../common/model/cluster.ts';
import type { Secret } from '../../common/model/secret.ts';
import type { Service, ServiceSpec, TaskSpec } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';

const NO_DATA = new Uint8Array(0);

export function redactCluster(cluster: Cluster): Cluster {
  const { rootCa } = cluster;
  const rotation = rootCa.rotation && { ...rootCa.rotation, keyPem: '' };
  return { ...cluster, unlockKey: '', rootCa: { ...rootCa, keyPem: '', rotation } };
}

export function redactSecret(secret: Secret): Secret {
  return { ...secret, spec: { ...secret.spec, data: NO_DATA } };
}

export function redactService(service: Service): Service {
  const spec = withoutAuth(service.spec);
  const previousSpec = service.previousSpec && withoutAuth(service.previousSpec);
  if (spec === service.spec && previousSpec === service.previousSpec) return service;
  return { ...service, spec, previousSpec };
}

export function redactTask(task: Task): Task {
  const spec = taskWithoutAuth(task.spec);
  return spec === task.spec ? task : { ...task, spec };
}

function withoutAuth(spec: ServiceSpec): ServiceSpec {
  const task = taskWithoutAuth(spec.task);
  return task === spec.task ? spec : { ...spec, task };
}

function taskWithoutAuth(task: TaskSpec): TaskSpec {
  if (task.container.registryAuth === null) return task;
  return { ...task, container: { ...task.container, registryAuth: null } };
}
