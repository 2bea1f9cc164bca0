/** The seccomp profile that a container gets on this machine: the default, none, or the user's own. */
import { assertNever } from '../../common/base/assert.ts';
import {
  parseSeccompProfile,
  type SeccompCondition,
  type SeccompDocument,
} from '../../common/model/seccomp-profile.ts';
import type { Privileges } from '../../common/model/service.ts';
import type { SeccompProfile } from '../../native/ffi/seccomp.ts';
import { defaultSeccomp } from './default-seccomp.ts';

/** What the conditions of a profile ask about. */
export interface SeccompMachine {
  /** as Go names it */
  readonly arch: string;
  /** as `uname -r` says it */
  readonly kernel: string;
  /** the container's bounding set */
  readonly capabilities: readonly string[];
}

/** null = unconfined. Throws `invalid-argument` on a profile that cannot be read. */
export function seccompOf(
  seccomp: Privileges['seccomp'],
  machine: SeccompMachine,
): SeccompProfile | null {
  switch (seccomp.mode) {
    case 'default':
      return defaultSeccomp(machine.capabilities);
    case 'unconfined':
      return null;
    case 'custom':
      return profileOn(machine, parseSeccompProfile(seccomp.profile));
    default:
      return assertNever(seccomp.mode, 'seccomp mode');
  }
}

/** The rules that hold here. */
export function profileOn(machine: SeccompMachine, document: SeccompDocument): SeccompProfile {
  const rules = document.rules.filter(
    ({ includes, excludes }) => isIncluded(machine, includes) && !isExcluded(machine, excludes),
  );
  return {
    defaultAction: document.defaultAction,
    ...(document.defaultErrnoRet !== null && { defaultErrnoRet: document.defaultErrnoRet }),
    syscalls: rules.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet !== null && { errnoRet }),
      ...(args.length > 0 && { args }),
    })),
  };
}

/** All that is named must hold. */
function isIncluded(
  machine: SeccompMachine,
  { arches, caps, minKernel }: SeccompCondition,
): boolean {
  return (
    (arches.length === 0 || arches.includes(machine.arch)) &&
    caps.every((name) => machine.capabilities.includes(name)) &&
    (minKernel === '' || isKernelFrom(machine.kernel, minKernel))
  );
}

/** Any that is named is enough. */
function isExcluded(
  machine: SeccompMachine,
  { arches, caps, minKernel }: SeccompCondition,
): boolean {
  return (
    arches.includes(machine.arch) ||
    caps.some((name) => machine.capabilities.includes(name)) ||
    (minKernel !== '' && isKernelFrom(machine.kernel, minKernel))
  );
}

/** @param release as `uname -r` says it, @param least as `5.12` */
export function isKernelFrom(release: string, least: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
