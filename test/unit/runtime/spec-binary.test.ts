import { describe, expect, test } from 'vitest';
import { defaultProcess, defaultSpec } from '../../../worker/runtime/defaults.ts';
import type { OciSpec } from '../../../worker/runtime/oci.ts';
import { encodeProcess, encodeSpec } from '../../../worker/runtime/spec-binary.ts';

const CONTEXT = {
  cgroup: {
    cgroup2Dir: '/cg2',
    tasksFiles: ['/cg/memory/tasks'],
    oomFile: '/cg/memory/memory.oom_control',
    mounts: () => [],
  },
  seccomp: Buffer.alloc(16, 1),
  logMaxBytes: 1000,
  logMaxFiles: 3,
  ociRuntime: '/usr/bin/crun',
};
const base = defaultSpec(['/layers/a', '/layers/b'], defaultProcess(['sh', '-c', 'ö'], ['A=b']));
const noSeccomp = new Uint8Array(0);

/** As the shim reads it. */
class Reader {
  at = 0;
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  u32(): number {
    this.at += 4;
    return this.bytes.readUInt32LE(this.at - 4);
  }
  u64(): bigint {
    this.at += 8;
    return this.bytes.readBigUInt64LE(this.at - 8);
  }
  str(): string {
    const length = this.u32();
    const text = this.bytes.toString('utf8', this.at, this.at + length);
    expect(this.bytes[this.at + length]).toBe(0);
    this.at += length + 1;
    return text;
  }
  list<T>(each: () => T): T[] {
    return Array.from({ length: this.u32() }, each);
  }
}

describe('the spec of a shim', () => {
  test('has every field in the order of the header file', () => {
    const r = new Reader(encodeSpec({ ...base, hostname: 'host' }, CONTEXT));
    expect([r.u32(), r.u32()]).toEqual([0x504b5353, 5]);
    expect(r.u64()).toBe(0x6e020000n); // six namespaces
    expect(r.list(() => [r.u32(), r.str()])).toEqual([]);
    for (const _map of ['uid', 'gid'])
      expect(r.list(() => [r.u32(), r.u32(), r.u32()])).toEqual([]);
    expect([r.str(), r.str(), r.str()]).toEqual(['host', '', '/cg2']);
    expect(r.list(() => r.str())).toEqual(['/cg/memory/tasks']);
    expect(r.str()).toBe('/cg/memory/memory.oom_control');
    expect(r.list(() => r.str())).toEqual(['/layers/a', '/layers/b']);
    expect(r.u32()).toBe(0);
    const mounts = r.list(() => ({
      kind: r.u32(),
      names: [r.str(), r.str(), r.str(), r.str()],
      numbers: [r.u64(), r.u64(), BigInt(r.u32()), r.u64()],
    }));
    expect(mounts[0]).toEqual({
      kind: 0,
      names: ['proc', '/proc', 'proc', ''],
      numbers: [14n, 0n, 0n, 0n],
    });
    expect(mounts).toHaveLength(6); // the cgroup mount became none
    const devices = r.list(() => [r.str(), r.u32(), r.u32(), r.u32(), r.u32(), r.u32()]);
    expect(devices[0]).toEqual(['/dev/null', 0o020666, 1, 3, 0, 0]);
    expect(r.list(() => r.str())).toContain('/proc/kcore');
    expect(r.list(() => r.str())).toContain('/proc/sys');
    expect(r.list(() => [r.str(), r.str()])).toEqual([]);
    expect(r.str()).toBe(''); // no AppArmor profile
    expect([r.u64(), r.u32(), r.str()]).toEqual([1000n, 3, '/usr/bin/crun']);
    expect([r.u32(), r.u32(), r.u32()]).toEqual([4, 0, 0]); // flags: make the cwd; uid; gid
    expect(r.list(() => r.u32())).toEqual([]);
    expect([r.u32(), r.u32()]).toEqual([0, 0o022]);
    const caps = 0xa80425fbn;
    expect([r.u64(), r.u64(), r.u64(), r.u64(), r.u64()]).toEqual([caps, caps, 0n, caps, 0n]);
    expect(r.list(() => [r.u32(), r.u64(), r.u64()])).toEqual([]);
    expect(r.str()).toBe('/');
    expect(r.list(() => r.str())).toEqual(['sh', '-c', 'ö']);
    expect(r.list(() => r.str())).toHaveLength(2);
    expect(r.u32()).toBe(16);
    expect(r.at + 16).toBe(r.bytes.length);
  });

  test('joined namespaces are listed instead of made', () => {
    const namespaces = base.linux.namespaces.map((ns) =>
      ns.type === 'network' ? { ...ns, path: '/proc/7/ns/net' } : ns,
    );
    const r = new Reader(encodeSpec({ ...base, linux: { ...base.linux, namespaces } }, CONTEXT));
    r.at = 8;
    expect(r.u64()).toBe(0x2e020000n);
    expect(r.list(() => [r.u32(), r.str()])).toEqual([[0x40000000, '/proc/7/ns/net']]);
  });

  test('an unlimited rlimit is all ones', () => {
    const rlimits = [{ type: 'RLIMIT_NOFILE', soft: 5, hard: -1 }];
    const bytes = encodeProcess(
      { ...base.process, rlimits },
      { seccomp: noSeccomp, stdin: true, tty: false, size: null },
    );
    const r = new Reader(bytes);
    expect(r.u32()).toBe(2);
    r.at += 8 + 4 + 8 + 40;
    expect(r.list(() => [r.u32(), r.u64(), r.u64()])).toEqual([[7, 5n, 2n ** 64n - 1n]]);
  });

  test('the size of a terminal stands at the end, where it is told', () => {
    const options = { seccomp: noSeccomp, stdin: false, tty: true };
    const bare = encodeProcess(base.process, { ...options, size: null });
    const sized = encodeProcess(base.process, { ...options, size: [33, 77] });
    expect([bare, sized].map((bytes) => new Reader(bytes).u32() & 72)).toEqual([8, 72]);
    const r = new Reader(sized);
    r.at = bare.length;
    expect([r.u32(), r.u32(), r.at]).toEqual([33, 77, sized.length]);
  });

  const refused: [string, (spec: OciSpec) => OciSpec, string][] = [
    [
      'no command',
      (s) => ({ ...s, process: { ...s.process, args: [] } }),
      'process.args: no command',
    ],
    [
      'relative cwd',
      (s) => ({ ...s, process: { ...s.process, cwd: 'x' } }),
      'process.cwd: "x" is not',
    ],
    [
      'NUL',
      (s) => ({ ...s, process: { ...s.process, env: ['A=\0'] } }),
      'process.env: contains a NUL',
    ],
    [
      'unknown limit',
      (s) => ({
        ...s,
        process: { ...s.process, rlimits: [{ type: 'RLIMIT_X', soft: 1, hard: 1 }] },
      }),
      'unknown limit RLIMIT_X',
    ],
    [
      'unknown capability',
      (s) => {
        const capabilities = { ...s.process.capabilities, bounding: ['CAP_FLY'] };
        return { ...s, process: { ...s.process, capabilities } };
      },
      'unknown capability: CAP_FLY',
    ],
    ['no layer', (s) => ({ ...s, root: { lowerDirs: [], readonly: false } }), 'no image layer'],
    [
      'host mounts',
      (s) => ({ ...s, linux: { ...s.linux, namespaces: [] } }),
      'a new mount namespace is required',
    ],
    [
      'joined user namespace',
      (s) => {
        const user = { type: 'user' as const, path: '/proc/1/ns/user' };
        return { ...s, linux: { ...s.linux, namespaces: [{ type: 'mount' }, user] } };
      },
      'joining a user namespace',
    ],
    [
      'sysctl of the host',
      (s) => ({ ...s, linux: { ...s.linux, sysctl: { 'vm.swappiness': '1' } } }),
      'vm.swappiness is not namespaced',
    ],
    [
      'sysctl of a namespace that is the host’s',
      (s) => {
        const namespaces = s.linux.namespaces.filter(({ type }) => type !== 'ipc');
        return { ...s, linux: { ...s.linux, namespaces, sysctl: { 'kernel.shmmax': '1' } } };
      },
      "kernel.shmmax would be the host's: the container has no ipc namespace",
    ],
    [
      'sysctl with dots',
      (s) => ({ ...s, linux: { ...s.linux, sysctl: { 'net/../vm/swappiness': '1' } } }),
      'is not namespaced',
    ],
  ];
  test.each(refused)('refuses %s', (_name, change, words) => {
    expect(() => encodeSpec(change(base), CONTEXT)).toThrow(words);
  });
});

describe('the spec of any size', () => {
  test('each field may be the one that makes the buffer grow', () => {
    const lengthWith = (length: number): number => {
      const process = defaultProcess(['sh'], [`A=${'x'.repeat(length)}`]);
      return encodeSpec({ ...base, process }, CONTEXT).length;
    };
    const empty = lengthWith(0);
    // The first buffer holds 4 KiB: every field behind the variable crosses its end once.
    for (let length = 0; length < 4200; length++) expect(lengthWith(length)).toBe(empty + length);
  });
});
