/**
 * Our spec -> the `config.json` of the OCI runtime specification, for another runtime to make the
 * container by. Refuses, by name, what only our own shim does. Pure.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { SeccompProfile, SeccompRule } from '../../native/ffi/seccomp.ts';
import { parseMountOptions } from './mount-options.ts';
import type {
  OciDeviceRule,
  OciHook,
  OciLinux,
  OciMount,
  OciProcess,
  OciResources,
  OciSpec,
} from './oci.ts';

/** A runtime that an operator offers beside ours. */
export interface OciRuntime {
  readonly name: string;
  /** of its program; absolute */
  readonly path: string;
}

interface OciConfigContext {
  readonly runtimeName: string;
  /** absolute; the bundle */
  readonly taskDir: string;
  /** below the mount point of each hierarchy, with a slash before it */
  readonly cgroupsPath: string;
  /** the kernel limits swap */
  readonly countsSwap: boolean;
  /** on the host: what is pid 1 of a container with `process.init` */
  readonly initProgram: string;
}

const OCI_VERSION = '1.0.2';
/** Where Docker has its own; native/src/shim/reaper.h */
const INIT_PATH = '/sbin/docker-init';
const SCMP_ARCHES: Readonly<Record<string, string>> = {
  x64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
};
/** RLIM_INFINITY, which no number of JavaScript is. */
const UNLIMITED = '18446744073709551615';
const PROPAGATIONS = /^r?(private|slave|shared|unbindable)$/;

/** Throws `unimplemented` naming what the runtime cannot be asked for. */
export function ociConfigText(spec: OciSpec, context: OciConfigContext): string {
  refuseOwn(spec, context.runtimeName);
  const { init } = spec.process;
  const staged = stagedSources(spec.mounts, `${context.taskDir}/staged`);
  const mounts = spec.mounts.map((mount, at) => mountOf(mount, staged.get(at) ?? mount.source));
  const initMount = {
    destination: INIT_PATH,
    type: 'bind',
    source: context.initProgram,
    options: ['bind', 'ro', 'rprivate'],
  };
  const config = {
    ociVersion: OCI_VERSION,
    root: { path: 'merged', readonly: spec.root.readonly },
    ...(spec.hostname !== '' && { hostname: spec.hostname }),
    mounts: init ? [...mounts, initMount] : mounts,
    linux: linuxOf(spec, context),
    ...(spec.hooks && { hooks: hooksOf(spec.hooks) }),
  };
  return withText(config, 'process', processText(spec.process));
}

/** JSON of the object with one key more, whose value is JSON already. @param object with a key or more */
function withText(object: object, key: string, text: string): string {
  return `{"${key}":${text},${JSON.stringify(object).slice(1)}`;
}

function hooksOf(hooks: readonly OciHook[]): object {
  const byStage = new Map<string, object[]>();
  for (const { stage, path, args, env, timeoutSeconds } of hooks) {
    const hook = { path, args, env, ...(timeoutSeconds !== null && { timeout: timeoutSeconds }) };
    byStage.set(stage, [...(byStage.get(stage) ?? []), hook]);
  }
  return Object.fromEntries(byStage);
}

function refuseOwn({ linux, mounts }: OciSpec, runtimeName: string): void {
  const refuse = (what: string): never => {
    throw new SkepError('unimplemented', `runtime ${runtimeName}: ${what}`);
  };
  if (linux.namespaces.some(({ type }) => type === 'user')) {
    refuse('user namespaces are done by the native runtime only');
  }
  for (const mount of mounts) {
    const shares = mount.options.some((option) => /^r?shared$/.test(option));
    if (shares)
      refuse(`mount ${mount.destination}: shared propagation is the native runtime's only`);
  }
}

/**
 * Where the shim puts the sources that a path is not safe for, by the place of the mount: in their order,
 * as stage_binds of native/src/shim/oci.c counts them.
 */
function stagedSources(mounts: readonly OciMount[], dir: string): ReadonlyMap<number, string> {
  const places = mounts.flatMap((mount, at) =>
    mount.plainSource || mount.sourceNamespace ? [at] : [],
  );
  return new Map(places.map((at, number) => [at, `${dir}/${number}`]));
}

function mountOf(mount: OciMount, source: string): object {
  const { destination, type, options } = mount;
  const { bind, propagation } = parseMountOptions(mount);
  if (!bind) return { destination, type, source, options };
  const isRecursive = options.includes('rbind');
  const rest = options.filter((option) => option !== 'bind' && option !== 'rbind');
  const isSaid = propagation !== 0 || rest.some((option) => PROPAGATIONS.test(option));
  return {
    destination,
    type: 'bind',
    source,
    options: [isRecursive ? 'rbind' : 'bind', ...rest, ...(isSaid ? [] : ['rprivate'])],
  };
}

function processText(process: OciProcess): string {
  const { args, env, cwd, capabilities, oomScoreAdj, apparmorProfile } = process;
  const { uid, gid, additionalGids, umask = 0o022 } = process.user;
  const limit = (value: number): string => (value < 0 ? UNLIMITED : `${value}`);
  const rlimits = process.rlimits.map(
    ({ type, soft, hard }) =>
      `{"type":${JSON.stringify(type)},"soft":${limit(soft)},"hard":${limit(hard)}}`,
  );
  const rest = {
    terminal: process.terminal,
    user: { uid, gid, additionalGids, umask },
    args: process.init ? [INIT_PATH, '--', ...args] : args,
    env,
    cwd,
    capabilities,
    noNewPrivileges: process.noNewPrivileges,
    ...(oomScoreAdj !== null && { oomScoreAdj }),
    ...(apparmorProfile !== null && { apparmorProfile }),
  };
  return withText(rest, 'rlimits', `[${rlimits.join()}]`);
}

/** A domain name goes by its sysctl, as Docker has it: runc knows no field for it before 1.2. */
function linuxOf(
  { linux, domainname, mounts }: OciSpec,
  { cgroupsPath, countsSwap }: OciConfigContext,
): object {
  const slave = mounts.some(({ options }) => options.some((option) => /^r?slave$/.test(option)));
  return {
    namespaces: linux.namespaces,
    cgroupsPath,
    resources: resourcesOf(linux.resources, countsSwap),
    devices: linux.devices,
    maskedPaths: linux.maskedPaths,
    readonlyPaths: linux.readonlyPaths,
    sysctl: sysctlsOf(linux, domainname),
    rootfsPropagation: slave ? 'rslave' : 'rprivate',
    ...(linux.seccomp && { seccomp: seccompOf(linux.seccomp) }),
  };
}

function sysctlsOf({ sysctl }: OciLinux, domainname = ''): object {
  return domainname === '' ? sysctl : { ...sysctl, 'kernel.domainname': domainname };
}

/**
 * The groups have these limits already, weights and throttles of block devices among them, for which
 * kernels have files of several names: what is told here is what every kernel takes, and what a runtime
 * sets of itself where it is told nothing.
 */
function resourcesOf({ memory, cpu, pids, devices }: OciResources, countsSwap: boolean): object {
  const limit = memory?.limit ?? null;
  return {
    devices: devices.map(ruleOf),
    ...(memory && {
      memory: {
        ...(limit !== null && { limit, ...(countsSwap && { swap: memory.swap ?? limit }) }),
        ...(memory.swappiness !== undefined && { swappiness: memory.swappiness }),
        ...(memory.reservation !== undefined && { reservation: memory.reservation }),
      },
    }),
    ...(cpu && {
      cpu: {
        period: cpu.period,
        ...(cpu.quota !== null && { quota: cpu.quota }),
        ...(cpu.shares !== null && { shares: cpu.shares }),
        ...(cpu.cpus !== undefined && { cpus: cpu.cpus }),
        ...(cpu.mems !== undefined && { mems: cpu.mems }),
      },
    }),
    ...(pids && { pids: { limit: pids.limit ?? -1 } }),
  };
}

function ruleOf({ allow, type, major, minor, access }: OciDeviceRule): object {
  return {
    allow,
    type,
    access,
    ...(major !== null && { major }),
    ...(minor !== null && { minor }),
  };
}

function seccompOf({ defaultAction, defaultErrnoRet, syscalls }: SeccompProfile): object {
  const arch = SCMP_ARCHES[process.arch];
  return {
    defaultAction,
    ...(defaultErrnoRet !== undefined && { defaultErrnoRet }),
    ...(arch && { architectures: [arch] }),
    syscalls: syscalls.flatMap((rule) => apart(rule, syscalls)),
  };
}

/**
 * In libseccomp a rule without conditions replaces those with conditions of the same call, where ours
 * is for what none of them is for. So it becomes the bits that a single masked condition wants unset;
 * for what cannot be turned round it is left out, and the profile's default holds.
 */
function apart(rule: SeccompRule, all: readonly SeccompRule[]): SeccompRule[] {
  if (rule.args && rule.args.length > 0) return [rule];
  const conditionsOf = (name: string): SeccompRule[] =>
    all.filter(({ names, args = [] }) => names.includes(name) && args.length > 0);
  const names = rule.names.filter((name) => conditionsOf(name).length === 0);
  const turned = rule.names.flatMap((name): SeccompRule[] => {
    const [only, ...more] = conditionsOf(name).flatMap(({ args = [] }) => args);
    if (!only || more.length > 0 || only.op !== 'SCMP_CMP_MASKED_EQ' || only.valueTwo) return [];
    return bitsOf(only.value).map((bit) => ({
      ...rule,
      names: [name],
      args: [{ index: only.index, value: bit, valueTwo: bit, op: only.op }],
    }));
  });
  return names.length > 0 ? [{ ...rule, names }, ...turned] : turned;
}

/** The powers of two that a number below 2^53 is made of. */
function bitsOf(value: number): number[] {
  const bits: number[] = [];
  for (let bit = 1, rest = value; rest > 0; bit *= 2, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) bits.push(bit);
  }
  return bits;
}
