/** ContainerSpec: Docker's JSON and our model, both ways. */

import { asId } from '../../../common/model/ids.ts';
import type {
  ContainerSpec,
  FileTarget,
  HealthConfig,
  Mount,
  Privileges,
} from '../../../common/model/service.ts';
import { tmpfsWords } from '../../../common/model/tmpfs-options.ts';
import { isolationFromJson, isolationToJson } from './isolation.ts';
import type { JsonReader } from './reader.ts';
import { some } from './some.ts';

export function containerSpecFromJson(
  json: JsonReader,
  registryAuth: string | null,
): ContainerSpec {
  if (!['', 'default'].includes(json.string('Isolation'))) {
    json.refuse('Isolation', 'isolation is a Windows feature');
  }
  const dns = json.object('DNSConfig');
  return {
    image: json.string('Image'),
    labels: json.stringMap('Labels'),
    command: json.strings('Command'),
    args: json.strings('Args'),
    hostname: json.string('Hostname'),
    domainname: json.string('Domainname'),
    env: json.strings('Env'),
    workdir: json.string('Dir'),
    user: json.string('User'),
    groups: json.strings('Groups'),
    tty: json.boolean('TTY'),
    openStdin: json.boolean('OpenStdin'),
    readOnly: json.boolean('ReadOnly'),
    init: json.has('Init') ? json.boolean('Init') : null,
    stopSignal: json.string('StopSignal'),
    stopGracePeriodNanos: json.has('StopGracePeriod') ? json.integer('StopGracePeriod') : null,
    healthcheck: json.has('Healthcheck') ? healthFromJson(json.object('Healthcheck')) : null,
    mounts: json.objects('Mounts').map(mountFromJson),
    secrets: json.objects('Secrets').map((secret) => ({
      secretId: asId(secret.string('SecretID')),
      secretName: secret.string('SecretName'),
      file: fileFromJson(secret.object('File')),
    })),
    configs: json.objects('Configs').map((config) => ({
      configId: asId(config.string('ConfigID')),
      configName: config.string('ConfigName'),
      file: config.has('File') ? fileFromJson(config.object('File')) : null,
    })),
    hosts: json.strings('Hosts'),
    dns: {
      nameservers: dns.strings('Nameservers'),
      search: dns.strings('Search'),
      options: dns.strings('Options'),
    },
    sysctls: json.stringMap('Sysctls'),
    capabilityAdd: json.strings('CapabilityAdd'),
    capabilityDrop: json.strings('CapabilityDrop'),
    ulimits: json.objects('Ulimits').map((limit) => ({
      name: limit.string('Name'),
      soft: limit.integer('Soft'),
      hard: limit.integer('Hard'),
    })),
    oomScoreAdj: json.integer('OomScoreAdj'),
    privileges: json.has('Privileges') ? privilegesFromJson(json.object('Privileges')) : null,
    isolation: isolationFromJson(json),
    registryAuth,
  };
}

/**
 * INVARIANT: what is written reads back as the same spec, down to parts that are given but empty:
 * clients change a service by sending back what they read, and a difference restarts its tasks.
 */
export function containerSpecToJson(spec: ContainerSpec): object {
  return {
    Image: spec.image,
    ...some('Labels', spec.labels),
    ...some('Command', spec.command),
    ...some('Args', spec.args),
    ...some('Hostname', spec.hostname),
    ...some('Domainname', spec.domainname),
    ...some('Env', spec.env),
    ...some('Dir', spec.workdir),
    ...some('User', spec.user),
    ...some('Groups', spec.groups),
    ...(spec.privileges && { Privileges: privilegesToJson(spec.privileges) }),
    ...some('StopSignal', spec.stopSignal),
    ...some('TTY', spec.tty),
    ...some('OpenStdin', spec.openStdin),
    ...some('ReadOnly', spec.readOnly),
    ...some('Mounts', spec.mounts.map(mountToJson)),
    ...(spec.stopGracePeriodNanos === null ? {} : { StopGracePeriod: spec.stopGracePeriodNanos }),
    ...(spec.healthcheck && { Healthcheck: healthToJson(spec.healthcheck) }),
    ...some('Hosts', spec.hosts),
    DNSConfig: {
      ...some('Nameservers', spec.dns.nameservers),
      ...some('Search', spec.dns.search),
      ...some('Options', spec.dns.options),
    },
    ...some(
      'Secrets',
      spec.secrets.map(({ file, secretId, secretName }) => ({
        File: fileToJson(file),
        SecretID: secretId,
        SecretName: secretName,
      })),
    ),
    ...some(
      'Configs',
      spec.configs.map(({ file, configId, configName }) => ({
        ...(file ? { File: fileToJson(file) } : { Runtime: {} }),
        ConfigID: configId,
        ConfigName: configName,
      })),
    ),
    ...(spec.init === null ? {} : { Init: spec.init }),
    Isolation: 'default',
    ...some('Sysctls', spec.sysctls),
    ...some('CapabilityAdd', spec.capabilityAdd),
    ...some('CapabilityDrop', spec.capabilityDrop),
    ...some(
      'Ulimits',
      spec.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    ),
    ...some('OomScoreAdj', spec.oomScoreAdj),
    ...(spec.isolation && isolationToJson(spec.isolation)),
  };
}

export function mountFromJson(json: JsonReader): Mount {
  json.refuse('ClusterOptions', 'cluster volumes are not done yet');
  json.refuse('ImageOptions', 'image mounts are not done yet');
  const bind = json.object('BindOptions');
  const volume = json.object('VolumeOptions');
  const tmpfs = json.object('TmpfsOptions');
  const driver = volume.object('DriverConfig');
  return {
    type: json.oneOf('Type', ['bind', 'volume', 'tmpfs', 'cluster'], 'volume'),
    source: json.string('Source'),
    target: json.string('Target'),
    readOnly: json.boolean('ReadOnly'),
    bind: json.has('BindOptions')
      ? {
          propagation: bind.string('Propagation'),
          nonRecursive: bind.boolean('NonRecursive'),
          createMountpoint: bind.boolean('CreateMountpoint'),
          readOnlyNonRecursive: bind.boolean('ReadOnlyNonRecursive'),
          readOnlyForceRecursive: bind.boolean('ReadOnlyForceRecursive'),
        }
      : null,
    volume: json.has('VolumeOptions')
      ? {
          noCopy: volume.boolean('NoCopy'),
          labels: volume.stringMap('Labels'),
          driver: driver.string('Name'),
          driverOptions: driver.stringMap('Options'),
          subpath: volume.string('Subpath'),
        }
      : null,
    tmpfs: json.has('TmpfsOptions')
      ? {
          sizeBytes: tmpfs.integer('SizeBytes'),
          mode: tmpfs.integer('Mode'),
          options: tmpfsWords(tmpfs.lists('Options').map((words) => words.join('='))),
        }
      : null,
  };
}

function mountToJson(mount: Mount): object {
  const { bind, volume, tmpfs } = mount;
  return {
    Type: mount.type,
    ...some('Source', mount.source),
    Target: mount.target,
    ...some('ReadOnly', mount.readOnly),
    ...(bind && {
      BindOptions: {
        ...some('Propagation', bind.propagation),
        ...some('NonRecursive', bind.nonRecursive),
        ...some('CreateMountpoint', bind.createMountpoint),
        ...some('ReadOnlyNonRecursive', bind.readOnlyNonRecursive),
        ...some('ReadOnlyForceRecursive', bind.readOnlyForceRecursive),
      },
    }),
    ...(volume && {
      VolumeOptions: {
        ...some('NoCopy', volume.noCopy),
        ...some('Labels', volume.labels),
        ...some('Subpath', volume.subpath),
        ...some('DriverConfig', {
          ...some('Name', volume.driver),
          ...some('Options', volume.driverOptions),
        }),
      },
    }),
    ...(tmpfs && {
      TmpfsOptions: {
        ...some('SizeBytes', tmpfs.sizeBytes),
        ...some('Mode', tmpfs.mode),
        ...some(
          'Options',
          tmpfs.options.map((word) => word.split('=')),
        ),
      },
    }),
  };
}

export function healthFromJson(json: JsonReader): HealthConfig {
  return {
    test: json.strings('Test'),
    intervalNanos: json.integer('Interval'),
    timeoutNanos: json.integer('Timeout'),
    startPeriodNanos: json.integer('StartPeriod'),
    startIntervalNanos: json.integer('StartInterval'),
    retries: json.integer('Retries'),
  };
}

export function healthToJson(health: HealthConfig): object {
  return {
    ...some('Test', health.test),
    ...some('Interval', health.intervalNanos),
    ...some('Timeout', health.timeoutNanos),
    ...some('StartPeriod', health.startPeriodNanos),
    ...some('StartInterval', health.startIntervalNanos),
    ...some('Retries', health.retries),
  };
}

function fileFromJson(json: JsonReader): FileTarget {
  return {
    name: json.string('Name'),
    uid: json.string('UID', '0'),
    gid: json.string('GID', '0'),
    mode: json.integer('Mode', 0o444),
  };
}

function fileToJson(file: FileTarget): object {
  return { Name: file.name, UID: file.uid, GID: file.gid, Mode: file.mode };
}

function privilegesFromJson(json: JsonReader): Privileges {
  json.refuse('CredentialSpec', 'credential specs are a Windows feature');
  json.refuse('SELinuxContext', 'SELinux contexts are not done yet');
  const seccomp = json.object('Seccomp');
  const apparmor = json.object('AppArmor');
  return {
    noNewPrivileges: json.boolean('NoNewPrivileges'),
    seccomp: {
      mode: seccomp.oneOf('Mode', ['default', 'unconfined', 'custom'], 'default'),
      profile: Buffer.from(seccomp.base64('Profile')).toString('utf8'),
    },
    apparmor: {
      mode: apparmor.oneOf('Mode', ['default', 'disabled', 'custom'], 'default'),
      profile: apparmor.string('Profile'),
    },
  };
}

function privilegesToJson(privileges: Privileges): object {
  const { seccomp, apparmor } = privileges;
  return {
    ...(seccomp.mode === 'default'
      ? {}
      : {
          Seccomp: {
            Mode: seccomp.mode,
            ...some('Profile', Buffer.from(seccomp.profile).toString('base64')),
          },
        }),
    ...(apparmor.mode === 'default'
      ? {}
      : { AppArmor: { Mode: apparmor.mode, ...some('Profile', apparmor.profile) } }),
    ...some('NoNewPrivileges', privileges.noNewPrivileges),
  };
}
