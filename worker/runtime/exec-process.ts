/** What a further command of a container runs as: the container's process, with what the exec asks for. */
import { CAPABILITIES } from './capabilities.ts';
import { capabilitySet } from './defaults.ts';
import type { OciProcess } from './oci.ts';
import type { ResolvedUser } from './user.ts';

export interface ExecSpec {
  readonly args: readonly string[];
  /** over the container's own */
  readonly env: readonly string[];
  /** '' = the container's */
  readonly cwd: string;
  /** `user[:group]`, names or ids of the container's own files; null = the container's */
  readonly user: string | null;
  /** a terminal: its output is all on stdout */
  readonly tty: boolean;
  /** rows and columns that its terminal begins with; null = nobody said */
  readonly consoleSize: readonly [number, number] | null;
  readonly stdin: boolean;
  /** every capability, no seccomp filter */
  readonly privileged: boolean;
}

/** Another user than the container's. */
export interface ExecUser {
  readonly user: ResolvedUser;
  /** of the container's own user: a HOME that is this was not asked for by anybody */
  readonly ownHome: string;
}

/** @param as null = as the container's own user */
export function execProcess(own: OciProcess, spec: ExecSpec, as: ExecUser | null): OciProcess {
  const names = new Set(spec.env.map((entry) => entry.split('=', 1)[0]));
  const inherited = own.env
    .filter((entry) => !names.has(entry.split('=', 1)[0]))
    .map((entry) => (as && entry === `HOME=${as.ownHome}` ? `HOME=${as.user.home}` : entry));
  return {
    ...own,
    args: spec.args,
    env: [...inherited, ...spec.env],
    cwd: spec.cwd === '' ? own.cwd : spec.cwd,
    user: as ? userOf(as.user) : own.user,
    capabilities: spec.privileged ? capabilitySet(CAPABILITIES) : own.capabilities,
  };
}

function userOf({ uid, gid, additionalGids }: ResolvedUser): OciProcess['user'] {
  return { uid, gid, additionalGids };
}
