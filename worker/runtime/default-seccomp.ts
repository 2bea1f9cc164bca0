/**
 * The seccomp profile of a container that names none: every system call that this program knows,
 * without those that reach beyond the container or whose kernel code has a bad record. The choice is
 * that of Docker's default profile (moby/profiles, 2026; compared call by call for every capability);
 * a call that is newer than our table answers ENOSYS, so that C libraries fall back.
 */
import type { SeccompProfile, SeccompRule } from '../../native/ffi/seccomp.ts';
import { SYSCALLS, type SyscallArch } from '../../native/ffi/syscalls.ts';

const EPERM = 1;
const ENOSYS = 38;
/** AF_ALG: kernel code that any socket reaches; AF_VSOCK: reaches the hypervisor */
const AF_ALG = 38;
const AF_VSOCK = 40;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET */
const CLONE_NAMESPACES = 0x7e020000;
/** personality(2): Linux, 32-bit Linux, the same with old-style UTS names, and asking (0xffffffff). */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** Refused whatever the capabilities: no use in a container, or not kept apart by namespaces. */
const NEVER: readonly string[] = [
  'add_key',
  'keyctl',
  'request_key',
  'io_uring_setup',
  'io_uring_enter',
  'io_uring_register',
  'userfaultfd',
  'move_pages',
  'migrate_pages',
  'kexec_load',
  'kexec_file_load',
  'nfsservctl',
  'pivot_root',
  'swapon',
  'swapoff',
  'sysfs',
  '_sysctl',
  'uselib',
  'ustat',
  'create_module',
  'query_module',
  'get_kernel_syms',
  'getpmsg',
  'putpmsg',
  'afs_syscall',
  'tuxcall',
  'security',
  'vserver',
];

/** Refused unless the container has one of the capabilities. */
const GATED: readonly { readonly names: readonly string[]; readonly by: readonly string[] }[] = [
  {
    by: ['CAP_SYS_ADMIN'],
    names: [
      'fanotify_init',
      'fsconfig',
      'fsmount',
      'fsopen',
      'fspick',
      'lookup_dcookie',
      'lsm_get_self_attr',
      'lsm_list_modules',
      'lsm_set_self_attr',
      'mount',
      'mount_setattr',
      'move_mount',
      'open_tree',
      'quotactl',
      'quotactl_fd',
      'setdomainname',
      'sethostname',
      'setns',
      'umount',
      'umount2',
      'unshare',
    ],
  },
  { by: ['CAP_SYS_ADMIN', 'CAP_BPF'], names: ['bpf'] },
  { by: ['CAP_SYS_ADMIN', 'CAP_PERFMON'], names: ['perf_event_open'] },
  { by: ['CAP_SYS_ADMIN', 'CAP_SYSLOG'], names: ['syslog'] },
  { by: ['CAP_DAC_READ_SEARCH'], names: ['open_by_handle_at'] },
  { by: ['CAP_SYS_BOOT'], names: ['reboot'] },
  { by: ['CAP_SYS_CHROOT'], names: ['chroot'] },
  { by: ['CAP_SYS_MODULE'], names: ['init_module', 'finit_module', 'delete_module'] },
  { by: ['CAP_SYS_PACCT'], names: ['acct'] },
  { by: ['CAP_SYS_PTRACE'], names: ['kcmp', 'pidfd_getfd', 'process_madvise'] },
  { by: ['CAP_SYS_RAWIO'], names: ['iopl', 'ioperm'] },
  { by: ['CAP_SYS_TIME'], names: ['settimeofday', 'clock_settime'] },
  { by: ['CAP_SYS_TTY_CONFIG'], names: ['vhangup'] },
  {
    by: ['CAP_SYS_NICE'],
    names: ['get_mempolicy', 'mbind', 'set_mempolicy', 'set_mempolicy_home_node'],
  },
];

/** Allowed by their arguments only. */
function conditionalRules(mayMakeNamespaces: boolean): SeccompRule[] {
  const action = 'SCMP_ACT_ALLOW';
  const rules: SeccompRule[] = [
    { names: ['socket'], action, args: [{ index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }] },
    { names: ['socket'], action, args: [{ index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }] },
    { names: ['socket'], action, args: [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }] },
    ...PERSONALITIES.map((value) => ({
      names: ['personality'],
      action,
      args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
    })),
  ];
  if (mayMakeNamespaces) return [...rules, { names: ['clone', 'clone3'], action }];
  const args = [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }];
  return [
    ...rules,
    { names: ['clone'], action, args },
    // Its flags lie in memory, out of a filter's reach: callers fall back to clone.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
}

const CONDITIONAL = ['socket', 'personality', 'clone', 'clone3'];

/** The default profile for a container with these capabilities (its bounding set). */
export function defaultSeccomp(
  capabilities: readonly string[],
  arch: SyscallArch = process.arch as SyscallArch,
): SeccompProfile {
  const refused = new Set([...NEVER, ...CONDITIONAL]);
  for (const gate of GATED) {
    if (gate.by.some((capability) => capabilities.includes(capability))) continue;
    for (const name of gate.names) refused.add(name);
  }
  const known = [...(SYSCALLS[arch]?.keys() ?? [])];
  // Of the conditional ones, what no condition lets through.
  const eperm = known.filter((name) => refused.has(name));
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: ENOSYS,
    syscalls: [
      { names: known.filter((name) => !refused.has(name)), action: 'SCMP_ACT_ALLOW' },
      ...conditionalRules(capabilities.includes('CAP_SYS_ADMIN')),
      { names: eperm, action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
    ],
  };
}
