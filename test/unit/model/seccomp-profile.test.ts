import { describe, expect, test } from 'vitest';
import { parseSeccompProfile } from '../../../common/model/seccomp-profile.ts';

const parse = (profile: object) => parseSeccompProfile(JSON.stringify(profile));
const ALLOW = 'SCMP_ACT_ALLOW';

describe('a seccomp profile of the user', () => {
  test('is read in the newer and in the older form', () => {
    const always = { arches: [], caps: [], minKernel: '' };
    const { rules } = parse({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 1,
      architectures: ['SCMP_ARCH_X86_64'],
      archMap: [{ architecture: 'SCMP_ARCH_X86_64' }],
      syscalls: [
        { name: 'read', action: ALLOW, args: null, comment: '' },
        {
          names: ['clone', 'socket'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 38,
          args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }],
          includes: { caps: ['CAP_BPF'], minKernel: '4.8' },
          excludes: { arches: ['s390x'] },
        },
      ],
    });
    expect(rules).toEqual([
      {
        names: ['read'],
        action: ALLOW,
        errnoRet: null,
        args: [],
        includes: always,
        excludes: always,
      },
      {
        names: ['clone', 'socket'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 38,
        args: [{ index: 0, value: 1, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
        includes: { ...always, caps: ['CAP_BPF'], minKernel: '4.8' },
        excludes: { ...always, arches: ['s390x'] },
      },
    ]);
  });

  const rule = (change: object) => ({
    defaultAction: ALLOW,
    syscalls: [{ names: ['read'], action: ALLOW, ...change }],
  });
  test.each([
    [[], 'the document must be an object'],
    [{}, 'defaultAction must be a text'],
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, 'defaultAction SCMP_ACT_NOTIFY is not supported'],
    [{ defaultAction: ALLOW, listenerPath: '/x' }, 'listenerPath cannot be set'],
    [{ defaultAction: ALLOW, syscalls: {} }, 'syscalls must be a list'],
    [rule({ names: [] }), 'syscalls[0].names is missing'],
    [rule({ action: 'ALLOW' }), 'syscalls[0].action ALLOW is not supported'],
    [rule({ errnoRet: 4096 }), 'syscalls[0].errnoRet must be a number from 0 to 4095'],
    [rule({ args: [{ index: 6 }] }), 'syscalls[0].args[0].index must be a number from 0 to 5'],
    [
      rule({ args: [{ index: 0, value: 1, op: 'EQ' }] }),
      'syscalls[0].args[0].op EQ is not supported',
    ],
    [{ defaultAction: ALLOW, syscals: [] }, 'syscals is not a key that is known'],
    [rule({ errno: 1 }), 'syscalls[0].errno is not a key that is known'],
    [
      rule({ args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ', value2: 1 }] }),
      'syscalls[0].args[0].value2 is not a key that is known',
    ],
    [rule({ includes: { cap: [] } }), 'syscalls[0].includes.cap is not a key that is known'],
    [rule({ excludes: { arch: [] } }), 'syscalls[0].excludes.arch is not a key that is known'],
    [rule({ includes: { minKernel: '4' } }), 'syscalls[0].includes.minKernel must be like 4.8'],
  ])('%j is refused', (profile, words) => {
    expect(() => parse(profile)).toThrow(`seccomp profile: ${words}`);
  });

  test('has at most 128 KiB, counted in bytes', () => {
    const most = 128 * 1024;
    const profile = `{"defaultAction":"${ALLOW}"}`;
    expect(() => parseSeccompProfile(profile.padEnd(most))).not.toThrow();
    const words = `seccomp profile: the document has ${most + 1} bytes: at most ${most} are allowed`;
    expect(() => parseSeccompProfile(profile.padEnd(most + 1))).toThrow(words);
    expect(() => parseSeccompProfile(profile + 'é'.repeat(most / 2))).toThrow('bytes: at most');
  });
});
