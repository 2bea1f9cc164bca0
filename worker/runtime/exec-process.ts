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
  /** null = the container's */
  readonly user: ResolvedUser | null;
  /** a terminal: its output is all on stdout */
  readonly tty: boolean;
  readonly stdin: boolean;
  /** every capability, no seccomp filter */
  readonly privileged: boolean;
}

export function execProcess(own: OciProcess, spec: ExecSpec): OciProcess {
  const names = new Set(spec.env.map((entry) => entry.split('=', 1)[0]));
  const inherited = own.env.filter((entry) => !names.has(entry.split('=', 1)[0]));
  const user =
    spec.user === null
      ? own.user
      : {
          uid: spec.user.uid,
          gid: spec.user.gid,
          additionalGids: spec.user.additionalGids,
        };
  return {
    ...own,
    args: spec.args,
    env: [...inherited, ...spec.env],
    cwd: spec.cwd === '' ? own.cwd : spec.cwd,
    user,
    capabilities: spec.privileged ? capabilitySet(CAPABILITIES) : own.capabilities,
  };
}
