/** `security_opt` of a service: the options that have an effect. */

export interface SecurityOption {
  readonly noNewPrivileges?: boolean;
  readonly seccomp?: 'unconfined' | 'default';
  readonly apparmor?: 'disabled' | 'default';
}

/** `no-new-privileges[:true]`, `seccomp:unconfined`, `apparmor:unconfined`; null for another one. */
export function parseSecurityOption(text: string): SecurityOption | null {
  switch (text.replace('=', ':')) {
    case 'no-new-privileges':
    case 'no-new-privileges:true':
      return { noNewPrivileges: true };
    case 'no-new-privileges:false':
      return { noNewPrivileges: false };
    case 'seccomp:unconfined':
      return { seccomp: 'unconfined' };
    case 'apparmor:unconfined':
      return { apparmor: 'disabled' };
    default:
      return null;
  }
}
