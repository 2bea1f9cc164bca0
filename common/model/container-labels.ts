/** A task's container as labels and events name it, by which Docker's clients find it. */
import type { StringMap } from './objects.ts';
import { type Task, taskName } from './task.ts';

/** The user's, and Swarm's. */
export function containerLabels(task: Task): StringMap {
  return {
    ...task.spec.container.labels,
    'com.docker.swarm.node.id': task.nodeId ?? '',
    'com.docker.swarm.service.id': task.serviceId,
    'com.docker.swarm.service.name': task.serviceAnnotations.name,
    'com.docker.swarm.task': '',
    'com.docker.swarm.task.id': task.id,
    'com.docker.swarm.task.name': taskName(task),
  };
}

/** Of an event of a task's container. */
export function containerAttributes(task: Task, more: StringMap = {}): StringMap {
  const { image } = task.spec.container;
  return { ...containerLabels(task), image, name: taskName(task), ...more };
}
