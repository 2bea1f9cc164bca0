/** `service inspect --pretty`: a service for people. */
import type { ServiceJson, UpdateConfigJson } from '../../common/model/engine-json/service.ts';
import { goDuration, humanBinarySize } from '../output/units.ts';

type Lines = (string | null)[];

function line(label: string, value: unknown, indent = ''): string | null {
  if (value === undefined || value === null || value === '' || value === 0) return null;
  if (Array.isArray(value) && value.length === 0) return null;
  const text = Array.isArray(value) ? value.join(' ') : String(value);
  return `${indent}${`${label}:`.padEnd(15 - indent.length)} ${text}`;
}

/** @param networks names by id */
export function prettyService(service: ServiceJson, networks: ReadonlyMap<string, string>): string {
  const { Spec: spec } = service;
  const labels = Object.entries(spec.Labels ?? {}).map(([key, value]) => ` ${key}=${value}`);
  const lines: Lines = [
    line('ID', service.ID),
    line('Name', spec.Name),
    ...(labels.length > 0 ? ['Labels:', ...labels] : []),
    ...modeLines(service),
    ...statusLines(service),
    ...placementLines(service),
    ...updateLines('UpdateConfig', spec.UpdateConfig),
    ...updateLines('RollbackConfig', spec.RollbackConfig),
    ...containerLines(service),
    ...resourceLines(service),
    ...networkLines(service, networks),
  ];
  return `${lines.filter((text) => text !== null).join('\n')}\n`;
}

function modeLines({ Spec: { Mode } }: ServiceJson): Lines {
  if (Mode?.Global) return ['Service Mode:   Global'];
  if (Mode?.GlobalJob) return ['Service Mode:   GlobalJob'];
  if (Mode?.ReplicatedJob) {
    return [
      'Service Mode:   ReplicatedJob',
      line('Max Concurrent', Mode.ReplicatedJob.MaxConcurrent, ' '),
      line('Total Completions', Mode.ReplicatedJob.TotalCompletions, ' '),
    ];
  }
  return ['Service Mode:   Replicated', ` Replicas:      ${Mode?.Replicated?.Replicas ?? 1}`];
}

function statusLines({ UpdateStatus: status }: ServiceJson): Lines {
  if (!status?.State) return [];
  return ['UpdateStatus:', line('State', status.State, ' '), line('Message', status.Message, ' ')];
}

function placementLines({ Spec }: ServiceJson): Lines {
  const placement = Spec.TaskTemplate.Placement;
  const lines = [
    line('Constraints', placement?.Constraints, ' '),
    line(
      'Preferences',
      placement?.Preferences?.map(({ Spread }) => `spread=${Spread.SpreadDescriptor}`),
      ' ',
    ),
    line('Max Replicas Per Node', placement?.MaxReplicas, ' '),
  ].filter((text) => text !== null);
  return lines.length === 0 ? [] : ['Placement:', ...lines];
}

function updateLines(title: string, update: UpdateConfigJson | undefined): Lines {
  if (!update) return [];
  return [
    `${title}:`,
    ` Parallelism:   ${update.Parallelism}`,
    update.Delay ? ` Delay:         ${goDuration(update.Delay)}` : null,
    ` On failure:    ${update.FailureAction ?? 'pause'}`,
    update.Monitor ? ` Monitoring Period: ${goDuration(update.Monitor)}` : null,
    ` Max failure ratio: ${update.MaxFailureRatio ?? 0}`,
    line('Update order', update.Order, ' '),
  ];
}

function containerLines({ Spec }: ServiceJson): Lines {
  const spec = Spec.TaskTemplate.ContainerSpec;
  const mounts = (spec.Mounts ?? []).map(
    (mount) =>
      `  ${mount.Target}: ${mount.Type} ${mount.Source ?? ''}${mount.ReadOnly ? ' (read only)' : ''}`,
  );
  return [
    'ContainerSpec:',
    line('Image', spec.Image, ' '),
    line('Entrypoint', spec.Command, ' '),
    line('Args', spec.Args, ' '),
    line('Env', spec.Env, ' '),
    line('Dir', spec.Dir, ' '),
    line('User', spec.User, ' '),
    line('Hostname', spec.Hostname, ' '),
    spec.Init ? line('Init', 'true', ' ') : null,
    ...(mounts.length > 0 ? [' Mounts:', ...mounts] : []),
    line(
      'Secrets',
      (spec.Secrets ?? []).map((secret) => `${secret.SecretName}->${secret.File.Name}`),
      ' ',
    ),
    line(
      'Configs',
      (spec.Configs ?? []).map((config) => `${config.ConfigName}->${config.File?.Name ?? ''}`),
      ' ',
    ),
  ];
}

function resourceLines({ Spec }: ServiceJson): Lines {
  const { Limits, Reservations } = Spec.TaskTemplate.Resources ?? {};
  const part = (title: string, of: typeof Limits): Lines => {
    if (!of?.NanoCPUs && !of?.MemoryBytes) return [];
    return [
      ` ${title}:`,
      line('CPU', of.NanoCPUs ? of.NanoCPUs / 1e9 : 0, '  '),
      line('Memory', of.MemoryBytes ? humanBinarySize(of.MemoryBytes) : '', '  '),
    ];
  };
  const lines = [...part('Reservations', Reservations), ...part('Limits', Limits)];
  return lines.length === 0 ? [] : ['Resources:', ...lines];
}

function networkLines(service: ServiceJson, names: ReadonlyMap<string, string>): Lines {
  const networks = service.Spec.TaskTemplate.Networks ?? [];
  const ports = service.Endpoint?.Ports ?? [];
  return [
    line(
      'Networks',
      networks.map(({ Target }) => names.get(Target) ?? Target),
    ),
    `Endpoint Mode:  ${service.Endpoint?.Spec?.Mode ?? service.Spec.EndpointSpec?.Mode ?? 'vip'}`,
    ...(ports.length > 0 ? ['Ports:'] : []),
    ...ports.flatMap((port) => [
      ` PublishedPort = ${port.PublishedPort ?? 0}`,
      `  Protocol = ${port.Protocol ?? 'tcp'}`,
      `  TargetPort = ${port.TargetPort}`,
      `  PublishMode = ${port.PublishMode ?? 'ingress'}`,
      ...(port.HostIp ? [`  HostIp = ${port.HostIp}`] : []),
    ]),
  ];
}
