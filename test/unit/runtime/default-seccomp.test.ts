import { describe, expect, test } from 'vitest';
import { compileSeccomp, type SeccompProfile } from '../../../native/ffi/seccomp.ts';
import { defaultSeccomp } from '../../../worker/runtime/default-seccomp.ts';
import {
  DEFAULT_CAPABILITIES,
  defaultProcess,
  defaultSpec,
} from '../../../worker/runtime/defaults.ts';
import { seccompFilter } from '../../../worker/runtime/seccomp-filter.ts';

function allowed(capabilities: readonly string[]): Set<string> {
  const rules = defaultSeccomp(capabilities, 'x64').syscalls;
  const plain = rules.filter((rule) => rule.action === 'SCMP_ACT_ALLOW' && rule.args === undefined);
  return new Set(plain.flatMap((rule) => rule.names));
}

describe('default seccomp profile', () => {
  test.each(['read', 'execve', 'openat', 'futex', 'clone3', 'ptrace', 'chroot', 'statx', 'mseal'])(
    '%s',
    (name) => {
      expect(allowed(DEFAULT_CAPABILITIES).has(name)).toBe(name !== 'clone3');
    },
  );

  test.each([
    ['mount', 'CAP_SYS_ADMIN'],
    ['unshare', 'CAP_SYS_ADMIN'],
    ['bpf', 'CAP_BPF'],
    ['init_module', 'CAP_SYS_MODULE'],
    ['reboot', 'CAP_SYS_BOOT'],
    ['open_by_handle_at', 'CAP_DAC_READ_SEARCH'],
  ])('%s needs %s', (name, capability) => {
    expect(allowed(DEFAULT_CAPABILITIES).has(name)).toBe(false);
    expect(allowed([...DEFAULT_CAPABILITIES, capability]).has(name)).toBe(true);
  });

  test.each(['keyctl', 'io_uring_setup', 'userfaultfd', 'swapon', 'kexec_load', 'migrate_pages'])(
    '%s is never allowed',
    (name) => {
      expect(allowed(['CAP_SYS_ADMIN', ...DEFAULT_CAPABILITIES]).has(name)).toBe(false);
    },
  );

  test.each(['x64', 'arm64'] as const)('compiles for %s to a filter of moderate size', (arch) => {
    const filter = compileSeccomp(defaultSeccomp(DEFAULT_CAPABILITIES, arch), arch);
    expect(filter.length / 8).toBeLessThan(300);
  });

  test('is one for the capabilities that decide, and its filter is compiled once', () => {
    const profile = defaultSeccomp(DEFAULT_CAPABILITIES);
    expect(defaultSeccomp([...DEFAULT_CAPABILITIES].reverse())).toEqual(profile);
    const admin = defaultSeccomp([...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN']);
    expect(admin).not.toEqual(profile);
    const spec = defaultSpec([], defaultProcess(['true']));
    const withProfile = (seccomp: SeccompProfile | null) =>
      seccompFilter({ ...spec, linux: { ...spec.linux, seccomp } });
    const filter = withProfile(profile);
    expect(withProfile(JSON.parse(JSON.stringify(profile)))).toBe(filter); // as read from disk
    expect(withProfile(admin)).not.toEqual(filter);
    expect(withProfile(null)).toHaveLength(0);
  });
});
