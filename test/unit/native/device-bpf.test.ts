import { describe, expect, test } from 'vitest';
import { assembleDeviceProgram, type DeviceRule } from '../../../native/ffi/device-bpf.ts';
import { DEFAULT_DEVICE_RULES } from '../../../worker/runtime/defaults.ts';

const TYPES = { b: 1, c: 2 } as const;
const ACCESS = { m: 1, r: 2, w: 4 } as const;

/** Runs the few eBPF operations that the assembler emits. */
function allows(program: Buffer, type: 'b' | 'c', major: number, minor: number, access: string) {
  const wanted = [...access].reduce((mask, letter) => mask | ACCESS[letter as 'm'], 0);
  const context = new Map([
    [0, (wanted << 16) | TYPES[type]],
    [4, major],
    [8, minor],
  ]);
  const r: number[] = Array(11).fill(0);
  for (let pc = 0; pc * 8 < program.length; pc++) {
    const code = program.readUInt8(pc * 8);
    const dst = program.readUInt8(pc * 8 + 1) & 15;
    const src = program.readUInt8(pc * 8 + 1) >> 4;
    const offset = program.readInt16LE(pc * 8 + 2);
    const k = program.readInt32LE(pc * 8 + 4);
    if (code === 0x61) r[dst] = context.get(offset) ?? 0;
    else if (code === 0xb7) r[dst] = k;
    else if (code === 0xbf) r[dst] = r[src]!;
    else if (code === 0x54) r[dst] = r[dst]! & k;
    else if (code === 0x74) r[dst] = r[dst]! >>> k;
    else if (code === 0x55) pc += r[dst] === k ? 0 : offset;
    else if (code === 0x15) pc += r[dst] === k ? offset : 0;
    else if (code === 0x5d) pc += r[dst] === r[src] ? 0 : offset;
    else if (code === 0x95) return r[0] === 1;
    else throw new Error(`operation ${code}`);
  }
  throw new Error('ran off the end');
}

describe('device program', () => {
  const defaults = assembleDeviceProgram(DEFAULT_DEVICE_RULES);

  test.each([
    ['c', 1, 3, 'rw', true], // null
    ['c', 1, 9, 'r', true], // urandom
    ['c', 136, 7, 'rw', true], // a terminal
    ['c', 1, 11, 'm', true], // making any node
    ['c', 1, 11, 'r', false], // but not using it
    ['b', 8, 0, 'm', true],
    ['b', 8, 0, 'r', false],
    ['b', 1, 3, 'r', false], // the number alone does not do
  ] as const)('default rules: %s %i:%i %s -> %s', (type, major, minor, access, expected) => {
    expect(allows(defaults, type, major, minor, access)).toBe(expected);
  });

  const all = (allow: boolean): DeviceRule => ({
    allow,
    type: 'a',
    major: null,
    minor: null,
    access: 'rwm',
  });
  const kmsg = (allow: boolean, access: string): DeviceRule => ({
    allow,
    type: 'c',
    major: 1,
    minor: 11,
    access,
  });

  test('the last matching rule wins', () => {
    const program = assembleDeviceProgram([all(true), kmsg(false, 'w')]);
    expect(allows(program, 'c', 1, 11, 'r')).toBe(true);
    expect(allows(program, 'c', 1, 11, 'rw')).toBe(false);
    expect(allows(assembleDeviceProgram([kmsg(false, 'w'), all(true)]), 'c', 1, 11, 'w')).toBe(
      true,
    );
  });

  test('an allowing rule must cover the whole access', () => {
    const program = assembleDeviceProgram([all(false), kmsg(true, 'r')]);
    expect(allows(program, 'c', 1, 11, 'r')).toBe(true);
    expect(allows(program, 'c', 1, 11, 'rw')).toBe(false);
  });

  test('without a rule nothing is allowed', () => {
    expect(allows(assembleDeviceProgram([]), 'c', 1, 3, 'r')).toBe(false);
  });
});
