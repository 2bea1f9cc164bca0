/**
 * What a new service spec changes of the old one, in the words of stack files, and which of the changes
 * replace tasks. The tables name every field, so that a new one cannot be forgotten.
 */
import { deepEqual } from '../base/equal.ts';
import { compareSpecs } from './dirty-task.ts';
import type { ContainerSpec, ServiceSpec, TaskSpec } from './service.ts';
import { isStackLabel } from './stack.ts';
import { DEPENDS_ON_LABEL } from './start-order.ts';

const CONTAINER_WORDS: Readonly<Record<keyof ContainerSpec, string>> = {
  image: 'image',
  labels: 'labels',
  command: 'entrypoint',
  args: 'command',
  hostname: 'hostname',
  domainname: 'domainname',
  env: 'environment',
  workdir: 'working_dir',
  user: 'user',
  groups: 'group_add',
  tty: 'tty',
  openStdin: 'stdin_open',
  readOnly: 'read_only',
  init: 'init',
  stopSignal: 'stop_signal',
  stopGracePeriodNanos: 'stop_grace_period',
  healthcheck: 'healthcheck',
  mounts: 'volumes',
  secrets: 'secrets',
  configs: 'configs',
  hosts: 'extra_hosts',
  dns: 'dns',
  sysctls: 'sysctls',
  capabilityAdd: 'cap_add',
  capabilityDrop: 'cap_drop',
  ulimits: 'ulimits',
  oomScoreAdj: 'oom_score_adj',
  privileges: 'security_opt',
  isolation: 'isolation', // privileged, devices, pid, ipc and the like
  registryAuth: 'credentials of the registry',
};

const TASK_WORDS: Readonly<Record<Exclude<keyof TaskSpec, 'container'>, string>> = {
  resources: 'deploy.resources',
  restart: 'deploy.restart_policy',
  placement: 'deploy.placement',
  networks: 'networks',
  logDriver: 'logging',
  forceUpdate: 'restart by hand',
  runtime: 'runtime',
};

const SPEC_WORDS: Readonly<Record<Exclude<keyof ServiceSpec, 'task' | 'labels'>, string>> = {
  name: 'name',
  mode: 'deploy.mode',
  update: 'deploy.update_config',
  rollback: 'deploy.rollback_config',
  endpoint: 'ports',
};

export interface SpecChange {
  /** everything that differs */
  readonly fields: readonly string[];
  /** those that replace every task; `deploy.placement` is not among them, for it depends on the task */
  readonly replacing: readonly string[];
}

export function specChange(old: ServiceSpec, now: ServiceSpec): SpecChange {
  const task = [
    ...differing(old.task.container, now.task.container, CONTAINER_WORDS),
    ...differing(old.task, now.task, TASK_WORDS),
  ];
  const spec = differing(old, now, SPEC_WORDS).map((word) =>
    word === SPEC_WORDS.mode ? modeWord(old, now) : word,
  );
  const substance = compareSpecs(old.task, now.task) === 'substance';
  const lenient = [TASK_WORDS.placement, CONTAINER_WORDS.registryAuth];
  const replacing = [
    ...(substance ? task.filter((word) => !lenient.includes(word)) : []),
    ...spec.filter((word) => word === SPEC_WORDS.endpoint),
  ];
  return { fields: [...task, ...spec, ...labelWords(old, now)], replacing };
}

function differing<T extends object, K extends keyof T>(
  old: T,
  now: T,
  words: Readonly<Record<K, string>>,
): string[] {
  const keys = Object.keys(words) as K[];
  return keys.filter((key) => !deepEqual(old[key], now[key])).map((key) => words[key]);
}

function modeWord({ mode: old }: ServiceSpec, { mode: now }: ServiceSpec): string {
  return old.kind === now.kind ? 'deploy.replicas' : SPEC_WORDS.mode;
}

/** The image's label is told by the image. */
function labelWords({ labels: old }: ServiceSpec, { labels: now }: ServiceSpec): string[] {
  const own = (labels: ServiceSpec['labels']): object =>
    Object.fromEntries(Object.entries(labels).filter(([name]) => !isStackLabel(name)));
  return [
    ...(deepEqual(own(old), own(now)) ? [] : ['deploy.labels']),
    ...(old[DEPENDS_ON_LABEL] === now[DEPENDS_ON_LABEL] ? [] : ['depends_on']),
  ];
}
