/**
 * Debian's crun and runc as the comparison: the same root, namespaces, limits, capabilities, hidden paths
 * and seccomp profile, as a bundle. Their root is a plain directory; ours is an overlay on it, which is
 * more work.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { requirePackage } from '../support/packages.ts';

export const PEERS = ['crun', 'runc'] as const;
export type Peer = (typeof PEERS)[number];

const MEMORY_BYTES = 64 * 1024 * 1024;

/** Resolves with the version. Installs the package when it is missing. */
export async function requirePeer(peer: Peer): Promise<string> {
  await requirePackage(peer, peer);
  return (await runProgram(peer, ['--version'])).split('\n')[0] ?? '';
}

/** Directory of a bundle that runs `true` in `rootfs`. */
export function makeBundle(rootfs: string): string {
  const dir = temporaryDirectory('bundle');
  const { process, mounts, linux } = defaultSpec([rootfs], defaultProcess(['/bin/true']));
  const { args, env, cwd, capabilities, noNewPrivileges } = process;
  const { seccomp } = linux;
  const config = {
    ociVersion: '1.0.2',
    root: { path: rootfs, readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args,
      env,
      cwd,
      capabilities,
      noNewPrivileges,
    },
    hostname: 'bench',
    mounts: mounts.filter(({ type }) => type !== 'cgroup'),
    linux: {
      namespaces: linux.namespaces,
      maskedPaths: linux.maskedPaths,
      readonlyPaths: linux.readonlyPaths,
      resources: {
        memory: { limit: MEMORY_BYTES, swap: MEMORY_BYTES },
        cpu: { quota: 100_000, period: 100_000 },
        pids: { limit: 100 },
        devices: linux.resources.devices.map(({ allow, type, major, minor, access }) => ({
          allow,
          type,
          access,
          ...(major !== null && { major }),
          ...(minor !== null && { minor }),
        })),
      },
      seccomp: { ...seccomp, architectures: [ARCHITECTURES[globalThis.process.arch]] },
    },
  };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  return dir;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
};

/**
 * Runs the bundle so many times, one after the other, from one shell; mean ms of one. In a mount namespace
 * without the empty v2 hierarchy of a hybrid machine, which crun refuses.
 */
export async function runPeer(peer: Peer, bundle: string, count: number): Promise<number> {
  const state = temporaryDirectory(`${peer}-state`);
  const name = `skep-bench-${process.pid}-${peer}`;
  const script = `umount /sys/fs/cgroup/unified 2>/dev/null
    i=0; while [ $i -lt ${count} ]; do i=$((i+1))
    ${peer} --root ${state} run --bundle ${bundle} ${name}-$i </dev/null || exit 1; done`;
  const beganMs = performance.now();
  await runProgram('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script]);
  return (performance.now() - beganMs) / count;
}
