/** `service inspect --pretty`: a service for people, in Docker's words; a line more for what Docker leaves out. */
import type { ServiceJson, UpdateConfigJson } from '../../common/model/engine-json/service.ts';
import { type Lines, section } from '../output/section.ts';
import { ago, goDuration, humanBinarySize } from '../output/units.ts';

export interface PrettyWorld {
  /** names by id */
  readonly networks: ReadonlyMap<string, string>;
  /** since 1970 */
  readonly nowMs: number;
}

export function prettyService(service: ServiceJson, { networks, nowMs }: PrettyWorld): string {
  const { Spec: spec } = service;
  const lines = [
    `ID:\t\t${service.ID}`,
    `Name:\t\t${spec.Name}`,
    ...section(
      'Labels:',
      sorted(spec.Labels).map(([key, value]) => ` ${key}${value && `=${value}`}`),
    ),
    ...modeLines(service),
    ...statusLines(service, nowMs),
    ...placementLines(service),
    ...changeLines('Update', spec.UpdateConfig),
    ...changeLines('Rollback', spec.RollbackConfig),
    ...containerLines(service),
    ...logLines(service),
    ...resourceLines(service),
    ...networkLines(service, networks),
    ...healthLines(service),
  ];
  return `${lines.join('\n')}\n`;
}

const given = (value: unknown, line: string): Lines => (value ? [line] : []);

const sorted = (map: Readonly<Record<string, string>> | null | undefined): [string, string][] =>
  Object.entries(map ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));

/** As Go prints a list of texts. */
const goList = (words: readonly string[]): string => `[${words.join(' ')}]`;

function modeLines({ Spec: { Mode } }: ServiceJson): Lines {
  if (Mode?.Global) return ['Service Mode:\tGlobal'];
  if (Mode?.GlobalJob) return ['Service Mode:\tGlobalJob'];
  const job = Mode?.ReplicatedJob;
  if (!job) return ['Service Mode:\tReplicated', ` Replicas:\t${Mode?.Replicated?.Replicas ?? 1}`];
  return [
    'Service Mode:\tReplicatedJob',
    ...given(job.MaxConcurrent, ` Max Concurrent:\t${job.MaxConcurrent}`),
    ...given(job.TotalCompletions, ` Total Completions:\t${job.TotalCompletions}`),
  ];
}

function statusLines({ UpdateStatus: status }: ServiceJson, nowMs: number): Lines {
  if (!status?.State) return [];
  const { State, StartedAt = '', CompletedAt = '', Message = '' } = status;
  return [
    'UpdateStatus:',
    ` State:\t\t${State}`,
    ...given(StartedAt, ` Started:\t${ago(StartedAt, nowMs)}`),
    ...given(State === 'completed' && CompletedAt, ` Completed:\t${ago(CompletedAt, nowMs)}`),
    ` Message:\t${Message}`,
  ];
}

function placementLines({ Spec }: ServiceJson): Lines {
  const { Constraints = [], Preferences = [], MaxReplicas } = Spec.TaskTemplate.Placement ?? {};
  const spread = Preferences.map(({ Spread }) => `spread=${Spread.SpreadDescriptor}`);
  return [
    'Placement:',
    ...given(Constraints.length, ` Constraints:\t${goList(Constraints)}`),
    ...given(spread.length, ` Preferences:   ${goList(spread)}`),
    ...given(MaxReplicas, ` Max Replicas Per Node:   ${MaxReplicas}`),
  ];
}

function changeLines(what: 'Update' | 'Rollback', config: UpdateConfigJson | undefined): Lines {
  if (!config) return [];
  const { Parallelism, Delay = 0, FailureAction = '', Monitor = 0 } = config;
  return [
    `${what}Config:`,
    ` Parallelism:\t${Parallelism}`,
    ...given(Delay, ` Delay:\t\t${goDuration(Delay)}`),
    ` On failure:\t${FailureAction}`,
    ...given(Monitor, ` Monitoring Period: ${goDuration(Monitor)}`),
    ` Max failure ratio: ${config.MaxFailureRatio ?? 0}`,
    `${` ${what} order:`.padEnd(19)} ${config.Order ?? ''}`,
  ];
}

function containerLines({ Spec }: ServiceJson): Lines {
  const spec = Spec.TaskTemplate.ContainerSpec;
  const { Command = [], Args = [], Env = [] } = spec;
  const mounts = (spec.Mounts ?? []).flatMap(({ Target, Source = '', ReadOnly, Type }) => [
    ` Target:\t${Target}`,
    `  Source:\t${Source}`,
    `  ReadOnly:\t${ReadOnly ?? false}`,
    `  Type:\t\t${Type}`,
  ]);
  const file = (target: string, source: string): Lines => [
    ` Target:\t${target}`,
    `  Source:\t${source}`,
  ];
  const limits = (spec.Ulimits ?? []).map(
    ({ Name, Soft = 0, Hard = 0 }) => ` ${Name}: ${Soft}:${Hard}`,
  );
  return [
    'ContainerSpec:',
    ` Image:\t\t${spec.Image}`,
    ...given(Command.length, ` Entrypoint:\t${Command.join(' ')}`),
    ...given(Args.length, ` Args:\t\t${Args.join(' ')}`),
    ...given(Env.length, ` Env:\t\t${Env.join(' ')}`),
    ...given(spec.Dir, ` Dir:\t\t${spec.Dir}`),
    ...given(typeof spec.Init === 'boolean', ` Init:\t\t${spec.Init}`),
    ...given(spec.User, ` User: ${spec.User}`),
    ...given(spec.Hostname, ` Hostname:\t${spec.Hostname}`),
    ...section('Capabilities:', [
      ...given(spec.CapabilityAdd?.length, ` Add: ${spec.CapabilityAdd?.join(', ')}`),
      ...given(spec.CapabilityDrop?.length, ` Drop: ${spec.CapabilityDrop?.join(', ')}`),
    ]),
    ...section(
      'SysCtls:',
      sorted(spec.Sysctls).map(([key, value]) => ` ${key}${value && `: ${value}`}`),
    ),
    ...section('Ulimits:', [...limits].sort()),
    ...section('Mounts:', mounts),
    ...section(
      'Configs:',
      (spec.Configs ?? []).flatMap(({ File, ConfigName }) => file(File?.Name ?? '', ConfigName)),
    ),
    ...section(
      'Secrets:',
      (spec.Secrets ?? []).flatMap(({ File, SecretName }) => file(File.Name, SecretName)),
    ),
  ];
}

function logLines({ Spec }: ServiceJson): Lines {
  const driver = Spec.TaskTemplate.LogDriver;
  if (!driver) return [];
  const options = sorted(driver.Options).map(
    ([key, value]) => `  ${key}${value && `:       ${value}`}`,
  );
  return [
    'Log Driver:',
    ...given(driver.Name, ` Name:\t\t${driver.Name}`),
    ...section(' LogOpts:', options),
    '',
  ];
}

function resourceLines({ Spec }: ServiceJson): Lines {
  const { Limits, Reservations } = Spec.TaskTemplate.Resources ?? {};
  const part = (
    title: string,
    of: { NanoCPUs?: number; MemoryBytes?: number } | undefined,
  ): Lines =>
    section(` ${title}:`, [
      ...given(of?.NanoCPUs, `  CPU:\t\t${(of?.NanoCPUs ?? 0) / 1e9}`),
      ...given(of?.MemoryBytes, `  Memory:\t${humanBinarySize(of?.MemoryBytes ?? 0)}`),
    ]);
  return [
    ...section('Resources:', [...part('Reservations', Reservations), ...part('Limits', Limits)]),
    ...given(Limits?.Pids, `  PIDs:\t\t${Limits?.Pids}`),
  ];
}

function networkLines(service: ServiceJson, names: ReadonlyMap<string, string>): Lines {
  const networks = service.Spec.TaskTemplate.Networks ?? [];
  const ports = (service.Endpoint?.Ports ?? []).flatMap((port) => [
    ` PublishedPort = ${port.PublishedPort ?? 0}`,
    `  Protocol = ${port.Protocol ?? 'tcp'}`,
    `  TargetPort = ${port.TargetPort}`,
    `  PublishMode = ${port.PublishMode ?? 'ingress'}`,
    ...given(port.HostIp, `  HostIp = ${port.HostIp}`),
  ]);
  return [
    ...given(
      networks.length,
      `Networks:${networks.map(({ Target }) => ` ${names.get(Target) ?? Target}`).join('')}`,
    ),
    `Endpoint Mode:\t${service.Endpoint?.Spec?.Mode ?? service.Spec.EndpointSpec?.Mode ?? 'vip'}`,
    ...section('Ports:', ports),
  ];
}

function healthLines({ Spec }: ServiceJson): Lines {
  const check = Spec.TaskTemplate.ContainerSpec.Healthcheck;
  if (!check) return [];
  return [
    ' Healthcheck:',
    `  Interval = ${goDuration(check.Interval ?? 0)}`,
    `  Retries = ${check.Retries ?? 0}`,
    `  StartPeriod =\t${goDuration(check.StartPeriod ?? 0)}`,
    `  Timeout =\t${goDuration(check.Timeout ?? 0)}`,
    ...section(
      '  Tests:',
      (check.Test ?? []).map((word) => `\t Test = ${word}`),
    ),
  ];
}
