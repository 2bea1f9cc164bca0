/**
 * A spec and its image become an OCI runtime configuration: pure, complete, the one place where
 * Docker's rules for both meet. Knows nothing of how it is run.
 */
import { SkepError } from '../../common/base/errors.ts';
import { genericResourceEnvironment } from '../../common/model/generic-resource.ts';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type GenericResource,
  type Isolation,
  type Privileges,
  type TaskSpec,
  type Ulimit,
} from '../../common/model/service.ts';
import type { ImageConfig } from '../images/image-store.ts';
import { CAPABILITIES } from '../runtime/capabilities.ts';
import {
  capabilitySet,
  DEFAULT_CAPABILITIES,
  DEFAULT_PATH,
  defaultProcess,
  defaultSpec,
} from '../runtime/defaults.ts';
import type { OciMount, OciNamespace, OciRlimit, OciSpec } from '../runtime/oci.ts';
import { seccompOf } from '../runtime/seccomp-choice.ts';
import type { ResolvedUser } from '../runtime/user.ts';
import type { CdiMount } from './cdi.ts';
import type { HostFacts } from './host-facts.ts';
import { devicesBeside, isolatedLinux, isolatedMounts, sharedNamespaces } from './isolation.ts';
import { cleanPath } from './mounts.ts';
import { resourcesOf } from './oci-resources.ts';
import type { IdMappings } from './user-namespace.ts';

/** A new one, the host's, or one that is there, by its path. */
export type NetworkNamespace = 'new' | 'host' | { readonly path: string };

export interface OciParts {
  readonly spec: Pick<TaskSpec, 'container' | 'resources'>;
  readonly genericResources: readonly GenericResource[];
  readonly image: ImageConfig;
  readonly lowerDirs: readonly string[];
  readonly hostname: string;
  readonly user: ResolvedUser;
  /** resolv.conf, hosts, hostname, volumes, secrets: in mounting order */
  readonly mounts: readonly OciMount[];
  readonly network: NetworkNamespace;
  /** null = the node's user namespace */
  readonly idMappings: IdMappings | null;
  readonly host: HostFacts;
}

export function ociSpecOf(parts: OciParts): OciSpec {
  const { image, lowerDirs, hostname, user, host, idMappings } = parts;
  const { container, resources } = parts.spec;
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  const capabilities = isolation.privileged
    ? CAPABILITIES
    : capabilitiesOf(container.capabilityAdd, container.capabilityDrop);
  const process = defaultProcess(argvOf(container, image), [
    ...environmentOf(container, image, hostname, user.home),
    ...genericResourceEnvironment(parts.genericResources),
    ...host.edits.env,
  ]);
  const base = defaultSpec(lowerDirs, {
    ...process,
    cwd: container.workdir || image.workingDir || '/',
    user: {
      uid: user.uid,
      gid: user.gid,
      additionalGids: [...new Set([...user.additionalGids, ...host.edits.gids])],
    },
    capabilities: capabilitySet(capabilities),
    rlimits: container.ulimits.map(rlimitOf),
    noNewPrivileges: container.privileges?.noNewPrivileges ?? false,
    oomScoreAdj: container.oomScoreAdj === 0 ? null : container.oomScoreAdj,
    terminal: container.tty,
    openStdin: container.openStdin,
    init: container.init ?? false,
    apparmorProfile: host.apparmorProfile,
  });
  const shared = sharedNamespaces(isolation);
  const linux = isolatedLinux(isolation, base.linux, host.devices);
  const own = isolatedMounts(isolation, base.mounts);
  const mounts = [...parts.mounts, ...host.edits.mounts.map(editMount)].map((mount) => ({
    ...mount,
    destination: cleanPath(mount.destination),
  }));
  const hidden = new Set(mounts.map(({ destination }) => destination));
  return {
    ...base,
    root: { lowerDirs, readonly: container.readOnly },
    hostname: isolation.uts === 'host' ? '' : hostname,
    domainname: container.domainname,
    ...(host.edits.hooks.length > 0 && { hooks: host.edits.hooks }),
    mounts: [...own.filter(({ destination }) => !hidden.has(destination)), ...mounts],
    linux: {
      ...linux,
      devices: devicesBeside(mounts, linux.devices),
      namespaces: [
        ...linux.namespaces
          .filter(({ type }) => !shared.has(type))
          .flatMap((one) => (one.type === 'network' ? networkNamespace(parts.network) : [one])),
        ...(idMappings ? [{ type: 'user' as const }] : []),
      ],
      ...(idMappings && { uidMappings: idMappings.uid, gidMappings: idMappings.gid }),
      resources: { ...linux.resources, ...resourcesOf(resources, host.blockDevices) },
      sysctl: container.sysctls,
      seccomp: seccompOf(seccompModeOf(container, isolation), { ...host, capabilities }),
    },
  };
}

/** A library or a socket of the host that a device needs. */
function editMount({ hostPath, containerPath, options }: CdiMount): OciMount {
  const bind = options.some((option) => option === 'bind' || option === 'rbind') ? [] : ['rbind'];
  return {
    destination: containerPath,
    type: 'bind',
    source: hostPath,
    options: [...bind, ...options],
  };
}

function networkNamespace(network: NetworkNamespace): OciNamespace[] {
  if (network === 'host') return [];
  return [network === 'new' ? { type: 'network' } : { type: 'network', path: network.path }];
}

/** Docker's rules: a command of the spec replaces the entrypoint and resets the image's command. */
export function argvOf(
  container: Pick<ContainerSpec, 'command' | 'args'>,
  image: Pick<ImageConfig, 'entrypoint' | 'cmd'>,
): readonly string[] {
  const entrypoint = container.command.length > 0 ? container.command : (image.entrypoint ?? []);
  const imageArgs = container.command.length > 0 ? [] : (image.cmd ?? []);
  const args = container.args.length > 0 ? container.args : imageArgs;
  const argv = [...entrypoint, ...args];
  if (argv.length === 0) {
    throw new SkepError(
      'invalid-argument',
      'no command specified: neither the image nor the service names one',
    );
  }
  return argv;
}

/** The image's, then the spec's; an entry without `=` takes its name out. */
export function environmentOf(
  container: Pick<ContainerSpec, 'env' | 'tty'>,
  image: Pick<ImageConfig, 'env'>,
  hostname: string,
  home: string,
): readonly string[] {
  const values = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', hostname],
    ['HOME', home],
  ]);
  if (container.tty) values.set('TERM', 'xterm');
  for (const entry of [...image.env, ...container.env]) {
    const at = entry.indexOf('=');
    if (at < 0) values.delete(entry);
    else values.set(entry.slice(0, at), entry.slice(at + 1));
  }
  return Array.from(values, ([name, value]) => `${name}=${value}`);
}

/**
 * Docker's rules: adding `ALL` gives the whole list without those dropped by name; dropping `ALL`
 * leaves what is added by name; else an addition wins over a removal of the same name.
 */
export function capabilitiesOf(add: readonly string[], drop: readonly string[]): readonly string[] {
  const added = add.map(capabilityName);
  const dropped = new Set(drop.map(capabilityName));
  if (added.includes('CAP_ALL')) return CAPABILITIES.filter((name) => !dropped.has(name));
  const kept = dropped.has('CAP_ALL')
    ? []
    : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...added])];
}

function capabilityName(given: string): string {
  const upper = given.toUpperCase();
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (name !== 'CAP_ALL' && !CAPABILITIES.includes(name)) {
    throw new SkepError('invalid-argument', `invalid capability: unknown capability '${given}'`);
  }
  return name;
}

function rlimitOf({ name, soft, hard }: Ulimit): OciRlimit {
  return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
}

/** A privileged container has no filter, but one that it is given. */
function seccompModeOf(container: ContainerSpec, { privileged }: Isolation): Privileges['seccomp'] {
  const given = container.privileges?.seccomp ?? { mode: 'default', profile: '' };
  return privileged && given.mode === 'default' ? { ...given, mode: 'unconfined' } : given;
}
