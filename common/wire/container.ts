/** ContainerSpec: what runs. */
import { skep } from '../../proto/gen/skep.js';
import { asId } from '../model/ids.ts';
import type {
  ConfigReference,
  ContainerSpec,
  FileTarget,
  HealthConfig,
  LogDriver,
  Privileges,
  SecretReference,
  Ulimit,
} from '../model/service.ts';
import { isolationFromProto, isolationToProto } from './isolation.ts';
import { mountFromProto, mountToProto } from './mount.ts';
import {
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  nullable,
  optionalInt64,
  optionalIntFromProto,
  optionalText,
  requiredMessage,
  text,
  textList,
  textListFromProto,
  textMap,
  textMapFromProto,
  uint32,
} from './scalars.ts';

const seccompModeTable = enumTable<Privileges['seccomp']['mode'], skep.SeccompMode>(
  'seccomp mode',
  {
    default: skep.SeccompMode.SECCOMP_MODE_DEFAULT,
    unconfined: skep.SeccompMode.SECCOMP_MODE_UNCONFINED,
    custom: skep.SeccompMode.SECCOMP_MODE_CUSTOM,
  },
);

const apparmorModeTable = enumTable<Privileges['apparmor']['mode'], skep.ApparmorMode>(
  'apparmor mode',
  {
    default: skep.ApparmorMode.APPARMOR_MODE_DEFAULT,
    disabled: skep.ApparmorMode.APPARMOR_MODE_DISABLED,
    custom: skep.ApparmorMode.APPARMOR_MODE_CUSTOM,
  },
);

function healthConfigToProto(health: HealthConfig): skep.HealthConfig.$Properties {
  return {
    test: textList(health.test),
    intervalNanos: int64(health.intervalNanos, 'healthcheck.intervalNanos'),
    timeoutNanos: int64(health.timeoutNanos, 'healthcheck.timeoutNanos'),
    startPeriodNanos: int64(health.startPeriodNanos, 'healthcheck.startPeriodNanos'),
    startIntervalNanos: int64(health.startIntervalNanos, 'healthcheck.startIntervalNanos'),
    retries: int64(health.retries, 'healthcheck.retries'),
  };
}

function healthConfigFromProto(m: skep.HealthConfig.$Properties): HealthConfig {
  return Object.freeze({
    test: textListFromProto(m.test),
    intervalNanos: intFromProto(m.intervalNanos, 'healthcheck.intervalNanos'),
    timeoutNanos: intFromProto(m.timeoutNanos, 'healthcheck.timeoutNanos'),
    startPeriodNanos: intFromProto(m.startPeriodNanos, 'healthcheck.startPeriodNanos'),
    startIntervalNanos: intFromProto(m.startIntervalNanos, 'healthcheck.startIntervalNanos'),
    retries: intFromProto(m.retries, 'healthcheck.retries'),
  });
}

function fileTargetToProto(file: FileTarget): skep.FileTarget.$Properties {
  return {
    name: text(file.name),
    uid: text(file.uid),
    gid: text(file.gid),
    mode: uint32(file.mode, 'file.mode'),
  };
}

function fileTargetFromProto(m: skep.FileTarget.$Properties): FileTarget {
  return Object.freeze({
    name: m.name ?? '',
    uid: m.uid ?? '',
    gid: m.gid ?? '',
    mode: m.mode ?? 0,
  });
}

function secretReferenceToProto(reference: SecretReference): skep.SecretReference.$Properties {
  return {
    secretId: text(reference.secretId),
    secretName: text(reference.secretName),
    file: fileTargetToProto(reference.file),
  };
}

function secretReferenceFromProto(m: skep.SecretReference.$Properties): SecretReference {
  return Object.freeze({
    secretId: asId<SecretReference['secretId']>(m.secretId ?? ''),
    secretName: m.secretName ?? '',
    file: fileTargetFromProto(requiredMessage(m.file, 'secret reference.file')),
  });
}

function configReferenceToProto(reference: ConfigReference): skep.ConfigReference.$Properties {
  return {
    configId: text(reference.configId),
    configName: text(reference.configName),
    file: nullable(reference.file, fileTargetToProto),
  };
}

function configReferenceFromProto(m: skep.ConfigReference.$Properties): ConfigReference {
  return Object.freeze({
    configId: asId<ConfigReference['configId']>(m.configId ?? ''),
    configName: m.configName ?? '',
    file: nullable(m.file, fileTargetFromProto),
  });
}

function ulimitToProto(ulimit: Ulimit): skep.Ulimit.$Properties {
  return {
    name: text(ulimit.name),
    soft: int64(ulimit.soft, 'ulimit.soft'),
    hard: int64(ulimit.hard, 'ulimit.hard'),
  };
}

function ulimitFromProto(m: skep.Ulimit.$Properties): Ulimit {
  return Object.freeze({
    name: m.name ?? '',
    soft: intFromProto(m.soft, 'ulimit.soft'),
    hard: intFromProto(m.hard, 'ulimit.hard'),
  });
}

function privilegesToProto(privileges: Privileges): skep.Privileges.$Properties {
  return {
    noNewPrivileges: privileges.noNewPrivileges,
    seccompMode: seccompModeTable.toProto(privileges.seccomp.mode),
    seccompProfile: text(privileges.seccomp.profile),
    apparmor: apparmorModeTable.toProto(privileges.apparmor.mode),
    apparmorProfile: text(privileges.apparmor.profile),
  };
}

function privilegesFromProto(m: skep.Privileges.$Properties): Privileges {
  return Object.freeze({
    noNewPrivileges: m.noNewPrivileges ?? false,
    seccomp: Object.freeze({
      mode: seccompModeTable.fromProto(m.seccompMode),
      profile: m.seccompProfile ?? '',
    }),
    apparmor: Object.freeze({
      mode: apparmorModeTable.fromProto(m.apparmor),
      profile: m.apparmorProfile ?? '',
    }),
  });
}

export function logDriverToProto(driver: LogDriver): skep.LogDriver.$Properties {
  return { name: text(driver.name), options: textMap(driver.options) };
}

export function logDriverFromProto(m: skep.LogDriver.$Properties): LogDriver {
  return Object.freeze({ name: m.name ?? '', options: textMapFromProto(m.options) });
}

export function containerSpecToProto(spec: ContainerSpec): skep.ContainerSpec.$Properties {
  return {
    image: text(spec.image),
    labels: textMap(spec.labels),
    command: textList(spec.command),
    args: textList(spec.args),
    hostname: text(spec.hostname),
    domainname: text(spec.domainname),
    env: textList(spec.env),
    workdir: text(spec.workdir),
    user: text(spec.user),
    groups: textList(spec.groups),
    tty: spec.tty,
    openStdin: spec.openStdin,
    readOnly: spec.readOnly,
    init: spec.init,
    stopSignal: text(spec.stopSignal),
    stopGracePeriodNanos: optionalInt64(spec.stopGracePeriodNanos, 'stopGracePeriodNanos'),
    healthcheck: nullable(spec.healthcheck, healthConfigToProto),
    mounts: spec.mounts.map(mountToProto),
    secrets: spec.secrets.map(secretReferenceToProto),
    configs: spec.configs.map(configReferenceToProto),
    hosts: textList(spec.hosts),
    dns: {
      nameservers: textList(spec.dns.nameservers),
      search: textList(spec.dns.search),
      options: textList(spec.dns.options),
    },
    sysctls: textMap(spec.sysctls),
    capabilityAdd: textList(spec.capabilityAdd),
    capabilityDrop: textList(spec.capabilityDrop),
    ulimits: spec.ulimits.map(ulimitToProto),
    oomScoreAdj: int64(spec.oomScoreAdj, 'oomScoreAdj'),
    privileges: nullable(spec.privileges, privilegesToProto),
    isolation: nullable(spec.isolation, isolationToProto),
    registryAuth: optionalText(spec.registryAuth),
  };
}

export function containerSpecFromProto(m: skep.ContainerSpec.$Properties): ContainerSpec {
  const dns = requiredMessage(m.dns, 'container.dns');
  return Object.freeze({
    image: m.image ?? '',
    labels: textMapFromProto(m.labels),
    command: textListFromProto(m.command),
    args: textListFromProto(m.args),
    hostname: m.hostname ?? '',
    domainname: m.domainname ?? '',
    env: textListFromProto(m.env),
    workdir: m.workdir ?? '',
    user: m.user ?? '',
    groups: textListFromProto(m.groups),
    tty: m.tty ?? false,
    openStdin: m.openStdin ?? false,
    readOnly: m.readOnly ?? false,
    init: m.init ?? null,
    stopSignal: m.stopSignal ?? '',
    stopGracePeriodNanos: optionalIntFromProto(m.stopGracePeriodNanos, 'stopGracePeriodNanos'),
    healthcheck: nullable(m.healthcheck, healthConfigFromProto),
    mounts: listFromProto(m.mounts, mountFromProto),
    secrets: listFromProto(m.secrets, secretReferenceFromProto),
    configs: listFromProto(m.configs, configReferenceFromProto),
    hosts: textListFromProto(m.hosts),
    dns: Object.freeze({
      nameservers: textListFromProto(dns.nameservers),
      search: textListFromProto(dns.search),
      options: textListFromProto(dns.options),
    }),
    sysctls: textMapFromProto(m.sysctls),
    capabilityAdd: textListFromProto(m.capabilityAdd),
    capabilityDrop: textListFromProto(m.capabilityDrop),
    ulimits: listFromProto(m.ulimits, ulimitFromProto),
    oomScoreAdj: intFromProto(m.oomScoreAdj, 'oomScoreAdj'),
    privileges: nullable(m.privileges, privilegesFromProto),
    isolation: nullable(m.isolation, isolationFromProto),
    registryAuth: m.registryAuth ?? null,
  });
}
