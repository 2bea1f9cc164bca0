import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileSeccomp, type SeccompProfile } from '../../../native/ffi/seccomp.ts';
import { SYSCALLS } from '../../../native/ffi/syscalls.ts';

const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;
const ENOSYS = 38;
const X64 = 0xc000003e;

/** Runs classic BPF as the kernel would, on struct seccomp_data. */
function run(filter: Uint8Array, nr: number, args: bigint[] = [], arch = X64): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr, 0);
  data.writeUInt32LE(arch, 4);
  for (const [i, arg] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, arg), 16 + 8 * i);
  const code = Buffer.from(filter);
  let a = 0;
  for (let pc = 0; pc * 8 < code.length; pc++) {
    const op = code.readUInt16LE(pc * 8);
    const jt = code.readUInt8(pc * 8 + 2);
    const jf = code.readUInt8(pc * 8 + 3);
    const k = code.readUInt32LE(pc * 8 + 4);
    if (op === 0x20) a = data.readUInt32LE(k);
    else if (op === 0x54) a = (a & k) >>> 0;
    else if (op === 0x15) pc += a === k ? jt : jf;
    else if (op === 0x25) pc += a > k ? jt : jf;
    else if (op === 0x35) pc += a >= k ? jt : jf;
    else if (op === 0x06) return k;
    else throw new Error(`operation ${op}`);
  }
  throw new Error('ran off the end');
}

function profile(...syscalls: SeccompProfile['syscalls']): SeccompProfile {
  return { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 99, syscalls };
}

function nr(name: string): number {
  return SYSCALLS.x64.get(name) ?? -1;
}

describe('seccomp compiler', () => {
  test('allows exactly the named calls', () => {
    const names = ['read', 'write', 'openat', 'close', 'execve', 'mseal'];
    const filter = compileSeccomp(profile({ names, action: 'SCMP_ACT_ALLOW' }), 'x64');
    const allowed = new Set(names.map(nr));
    for (let n = 0; n < 520; n++) expect(run(filter, n)).toBe(allowed.has(n) ? ALLOW : ERRNO | 99);
  });

  test('lets no foreign ABI through', () => {
    const filter = compileSeccomp(profile({ names: ['read'], action: 'SCMP_ACT_ALLOW' }), 'x64');
    expect(run(filter, nr('read'), [], 0x40000003)).toBe(ERRNO | ENOSYS); // i386
    expect(run(filter, nr('read') | 0x40000000)).toBe(ERRNO | ENOSYS); // x32
  });

  test('the first rule without conditions counts', () => {
    const filter = compileSeccomp(
      profile(
        { names: ['read'], action: 'SCMP_ACT_ERRNO', errnoRet: 5 },
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
      ),
      'x64',
    );
    expect(run(filter, nr('read'))).toBe(ERRNO | 5);
    const asDefault = compileSeccomp(
      profile(
        { names: ['read'], action: 'SCMP_ACT_ERRNO', errnoRet: 99 },
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
      ),
      'x64',
    );
    expect(run(asDefault, nr('read'))).toBe(ERRNO | 99);
  });

  const compare: Record<string, (a: bigint, v: bigint) => boolean> = {
    SCMP_CMP_EQ: (a, v) => a === v,
    SCMP_CMP_NE: (a, v) => a !== v,
    SCMP_CMP_LT: (a, v) => a < v,
    SCMP_CMP_LE: (a, v) => a <= v,
    SCMP_CMP_GT: (a, v) => a > v,
    SCMP_CMP_GE: (a, v) => a >= v,
  };

  test.each(Object.entries(compare))('%s compares 64 bits', (op, holds) => {
    const value = fc.oneof(
      fc.nat({ max: 3 }),
      fc.constantFrom(0xffffffff, 0x100000000, 0x100000001, 2 ** 40 + 7),
    );
    fc.assert(
      fc.property(value, value, (argument, limit) => {
        const rule = {
          names: ['ioctl'],
          action: 'SCMP_ACT_ALLOW',
          args: [{ index: 1, value: limit, op }],
        };
        const filter = compileSeccomp(profile(rule), 'x64');
        const expected = holds(BigInt(argument), BigInt(limit)) ? ALLOW : ERRNO | 99;
        return run(filter, nr('ioctl'), [0n, BigInt(argument)]) === expected;
      }),
      { numRuns: 300 },
    );
  });

  test('masks before it compares', () => {
    const args = [{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }];
    const filter = compileSeccomp(
      profile({ names: ['clone'], action: 'SCMP_ACT_ALLOW', args }),
      'x64',
    );
    expect(run(filter, nr('clone'), [0x01200011n])).toBe(ALLOW);
    expect(run(filter, nr('clone'), [0x40000011n])).toBe(ERRNO | 99);
  });

  test('conditions on different arguments hold together, on one argument they are alternatives', () => {
    const eq = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' });
    const both = compileSeccomp(
      profile({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [eq(0, 1), eq(1, 2)] }),
      'x64',
    );
    expect(run(both, nr('socket'), [1n, 2n])).toBe(ALLOW);
    expect(run(both, nr('socket'), [1n, 3n])).toBe(ERRNO | 99);
    const either = compileSeccomp(
      profile({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [eq(0, 1), eq(0, 2)] }),
      'x64',
    );
    expect(run(either, nr('socket'), [2n])).toBe(ALLOW);
    expect(run(either, nr('socket'), [3n])).toBe(ERRNO | 99);
  });

  test('refuses what it cannot express', () => {
    const bad = { defaultAction: 'SCMP_ACT_NOTIFY', syscalls: [] };
    expect(() => compileSeccomp(bad, 'x64')).toThrow('action SCMP_ACT_NOTIFY is not supported');
    const args = [{ index: 0, value: 1, op: 'SCMP_CMP_LIKE' }];
    expect(() =>
      compileSeccomp(profile({ names: ['read'], action: 'SCMP_ACT_ALLOW', args }), 'x64'),
    ).toThrow('operator SCMP_CMP_LIKE');
  });
});
