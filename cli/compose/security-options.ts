/** `security_opt` of a service and `--security-opt`: the options that have an effect. */
import type { PrivilegesJson } from '../../common/model/engine-json/container-spec.ts';

export interface SecurityOption {
  readonly noNewPrivileges?: boolean;
  /** of a profile of the user's own, the path of its file */
  readonly seccomp?: 'unconfined' | 'default' | { readonly file: string };
  /** of a profile that is loaded on the nodes, its name */
  readonly apparmor?: 'disabled' | 'default' | { readonly profile: string };
}

/** `no-new-privileges[:true]`, `seccomp:FILE`, `apparmor:PROFILE`, or with `=`; null for another one. */
export function parseSecurityOption(text: string): SecurityOption | null {
  const [, key = '', value] = /^([a-z-]+)(?:[:=](.*))?$/s.exec(text) ?? [];
  switch (key) {
    case 'no-new-privileges':
      if (value === undefined || value === 'true') return { noNewPrivileges: true };
      return value === 'false' ? { noNewPrivileges: false } : null;
    case 'seccomp':
      if (value === 'unconfined') return { seccomp: value };
      if (value === 'builtin') return { seccomp: 'default' };
      return value ? { seccomp: { file: value } } : null;
    case 'apparmor':
      if (value === 'unconfined') return { apparmor: 'disabled' };
      return value ? { apparmor: { profile: value } } : null;
    default:
      return null;
  }
}

/**
 * The later of two options for one thing counts.
 * @param read the text of a profile's file; undefined = it cannot be read, which was told
 */
export function privilegesOf(
  options: readonly SecurityOption[],
  read: (file: string) => Uint8Array | undefined,
): PrivilegesJson {
  const { noNewPrivileges, seccomp, apparmor }: SecurityOption = Object.assign({}, ...options);
  return {
    ...(noNewPrivileges && { NoNewPrivileges: true }),
    ...(seccomp !== undefined && { Seccomp: seccompJson(seccomp, read) }),
    ...(apparmor !== undefined && {
      AppArmor:
        typeof apparmor === 'string'
          ? { Mode: apparmor }
          : { Mode: 'custom', Profile: apparmor.profile },
    }),
  };
}

function seccompJson(
  seccomp: NonNullable<SecurityOption['seccomp']>,
  read: (file: string) => Uint8Array | undefined,
): NonNullable<PrivilegesJson['Seccomp']> {
  if (typeof seccomp === 'string') return { Mode: seccomp };
  const bytes = read(seccomp.file) ?? new Uint8Array(0);
  return { Mode: 'custom', Profile: Buffer.from(bytes).toString('base64') };
}
