/**
 * Device rules of cgroup v2: a list of rules becomes an eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE).
 * The assembler is pure; `attachDeviceRules` loads its result.
 */
import { declareAsync } from './library.ts';

/** Shaped as the OCI specification's `linux.resources.devices`; later rules win. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type: 'a' | 'c' | 'b';
  /** null = any */
  readonly major: number | null;
  readonly minor: number | null;
  /** letters of r, w, m */
  readonly access: string;
}

const attach = declareAsync(
  'int skep_device_program_attach(const char *cgroup_dir, const uint8_t *instructions, uint32_t count, _Out_ uint8_t *err)',
);

/** linux/bpf.h, struct bpf_cgroup_dev_ctx */
const DEVICE_TYPE = { b: 1, c: 2 } as const;
const ACCESS_MKNOD = 1;
const ACCESS_READ = 2;
const ACCESS_WRITE = 4;
const ACCESS_ALL = 7;

/** Operation codes (linux/bpf_common.h, linux/bpf.h). */
const LOAD_U32 = 0x61; // dst = *(u32 *)(src + offset)
const MOVE_IMMEDIATE = 0xb7;
const MOVE_REGISTER = 0xbf;
const AND32_IMMEDIATE = 0x54;
const SHIFT_RIGHT32 = 0x74;
const JUMP_NOT_EQUAL = 0x55; // against an immediate
const JUMP_EQUAL = 0x15;
const JUMP_NOT_EQUAL_REGISTER = 0x5d;
const EXIT = 0x95;

const INSTRUCTION_BYTES = 8;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

interface Instruction {
  readonly code: number;
  readonly dst: number;
  readonly src?: number;
  readonly offset?: number | 'next-rule';
  readonly immediate?: number;
}

/** The program for `rules`: a device access is allowed as the last matching rule says, else denied. */
export function assembleDeviceProgram(rules: readonly DeviceRule[]): Buffer {
  const program: Instruction[] = [
    { code: LOAD_U32, dst: TYPE, src: CONTEXT, offset: 0 },
    { code: AND32_IMMEDIATE, dst: TYPE, immediate: 0xffff },
    { code: LOAD_U32, dst: ACCESS, src: CONTEXT, offset: 0 },
    { code: SHIFT_RIGHT32, dst: ACCESS, immediate: 16 },
    { code: LOAD_U32, dst: MAJOR, src: CONTEXT, offset: 4 },
    { code: LOAD_U32, dst: MINOR, src: CONTEXT, offset: 8 },
  ];
  let open = true; // false once a rule matches everything: nothing before it is reached
  for (const rule of [...rules].reverse()) {
    if (!open) break;
    const block = ruleBlock(rule);
    open = block.length > 2;
    program.push(...block);
  }
  if (open) program.push(...verdict(false));
  return encode(program);
}

function verdict(allow: boolean): Instruction[] {
  return [
    { code: MOVE_IMMEDIATE, dst: 0, immediate: allow ? 1 : 0 },
    { code: EXIT, dst: 0 },
  ];
}

function ruleBlock(rule: DeviceRule): Instruction[] {
  const block: Instruction[] = [];
  const unless = (code: number, dst: number, rest: Partial<Instruction>): void => {
    block.push({ code, dst, offset: 'next-rule', ...rest });
  };
  const mask = accessMask(rule.access);
  if (rule.type !== 'a') {
    unless(JUMP_NOT_EQUAL, TYPE, { immediate: DEVICE_TYPE[rule.type] });
    if (rule.major !== null) unless(JUMP_NOT_EQUAL, MAJOR, { immediate: rule.major });
    if (rule.minor !== null) unless(JUMP_NOT_EQUAL, MINOR, { immediate: rule.minor });
  }
  if (mask !== ACCESS_ALL && rule.type !== 'a') {
    block.push({ code: MOVE_REGISTER, dst: CONTEXT, src: ACCESS });
    block.push({ code: AND32_IMMEDIATE, dst: CONTEXT, immediate: mask });
    // Allowed only when every wanted access is in the mask; denied as soon as one is.
    if (rule.allow) unless(JUMP_NOT_EQUAL_REGISTER, CONTEXT, { src: ACCESS });
    else unless(JUMP_EQUAL, CONTEXT, { immediate: 0 });
  }
  return [...block, ...verdict(rule.allow)].map((instruction, index, all) =>
    instruction.offset === 'next-rule'
      ? { ...instruction, offset: all.length - index - 1 }
      : instruction,
  );
}

function accessMask(access: string): number {
  return (
    (access.includes('m') ? ACCESS_MKNOD : 0) |
    (access.includes('r') ? ACCESS_READ : 0) |
    (access.includes('w') ? ACCESS_WRITE : 0)
  );
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * INSTRUCTION_BYTES);
  program.forEach((instruction, index) => {
    const at = index * INSTRUCTION_BYTES;
    bytes.writeUInt8(instruction.code, at);
    bytes.writeUInt8(instruction.dst | ((instruction.src ?? 0) << 4), at + 1);
    bytes.writeInt16LE(Number(instruction.offset ?? 0), at + 2);
    bytes.writeInt32LE(instruction.immediate ?? 0, at + 4);
  });
  return bytes;
}

/** Attaches the rules to a cgroup v2 group, for its lifetime. */
export async function attachDeviceRules(
  cgroupDir: string,
  rules: readonly DeviceRule[],
): Promise<void> {
  const program = assembleDeviceProgram(rules);
  await attach(cgroupDir, program, program.length / INSTRUCTION_BYTES);
}
