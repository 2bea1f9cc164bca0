/**
 * Seccomp profiles (the OCI specification's form) -> classic BPF for the kernel. Pure: bytes out,
 * nothing is loaded here. Only the machine's own system call ABI is let through.
 */
import { SkepError } from '../../common/base/errors.ts';
import { SYSCALLS, type SyscallArch } from './syscalls.ts';

export interface SeccompArg {
  /** 0..5 */
  readonly index: number;
  readonly value: number;
  /** only for SCMP_CMP_MASKED_EQ: (argument & value) == valueTwo */
  readonly valueTwo?: number;
  readonly op: string;
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  /** all must hold */
  readonly args?: readonly SeccompArg[];
}

export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly syscalls: readonly SeccompRule[];
}

const EPERM = 1;
const ENOSYS = 38;
/** include/uapi/linux/seccomp.h */
const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

/** include/uapi/linux/audit.h */
const AUDIT_ARCH: Readonly<Record<SyscallArch, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 };
const X32_BIT = 0x40000000;

const LOAD = 0x20; // A = data[k]
const AND = 0x54;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const JUMP_GREATER_EQUAL = 0x35;
const RETURN = 0x06;

const OFFSET_NR = 0;
const OFFSET_ARCH = 4;
const OFFSET_ARGS = 16;
/** The kernel's bound (BPF_MAXINSNS). */
const INSTRUCTIONS_MAX = 4096;
const JUMP_MAX = 255;

/** `jt`, `jf`: how many instructions to skip. */
interface Instruction {
  readonly code: number;
  readonly k: number;
  readonly jt?: number;
  readonly jf?: number;
}

interface Conditional {
  readonly action: number;
  readonly args: readonly SeccompArg[];
}

/** What a system call leads to: the first conditional rule that holds, else `otherwise`. */
interface Outcome {
  readonly conditionals: readonly Conditional[];
  readonly otherwise: number;
}

/**
 * The filter for `profile`, 8 bytes per instruction. A rule without conditions wins over the default;
 * unknown system call names are skipped, as other runtimes do (the profile may be newer than the
 * table). Throws `invalid-argument` on unknown actions and operators.
 */
export function compileSeccomp(
  profile: SeccompProfile,
  arch: SyscallArch = process.arch as SyscallArch,
): Uint8Array {
  const table = SYSCALLS[arch];
  if (table === undefined) {
    throw new SkepError('unimplemented', `seccomp: no system call table for ${arch}`);
  }
  const fallback = actionOf(profile.defaultAction, profile.defaultErrnoRet);
  const program: Instruction[] = [
    { code: LOAD, k: OFFSET_ARCH },
    { code: JUMP_EQUAL, k: AUDIT_ARCH[arch], jt: 1, jf: 0 },
    { code: RETURN, k: (ACTIONS['SCMP_ACT_ERRNO'] ?? 0) | ENOSYS },
    { code: LOAD, k: OFFSET_NR },
    { code: JUMP_GREATER_EQUAL, k: X32_BIT, jt: 0, jf: 1 },
    { code: RETURN, k: (ACTIONS['SCMP_ACT_ERRNO'] ?? 0) | ENOSYS },
  ];
  for (const range of ranges(outcomes(profile, table, fallback), fallback)) {
    const block = outcomeBlock(range.outcome);
    if (range.end === null) program.push(...block);
    else {
      if (block.length > JUMP_MAX)
        throw new SkepError('invalid-argument', 'seccomp: too many rules');
      program.push({ code: JUMP_GREATER_EQUAL, k: range.end, jt: block.length, jf: 0 }, ...block);
    }
  }
  return encode(program);
}

function actionOf(name: string, errnoRet: number | undefined): number {
  const action = ACTIONS[name];
  if (action === undefined) {
    throw new SkepError('invalid-argument', `seccomp: action ${name} is not supported`);
  }
  return name === 'SCMP_ACT_ERRNO' ? action | ((errnoRet ?? EPERM) & 0xffff) : action;
}

function outcomes(
  profile: SeccompProfile,
  table: ReadonlyMap<string, number>,
  fallback: number,
): Map<number, Outcome> {
  const result = new Map<number, Outcome>();
  const decided = new Set<number>(); // by a rule without conditions: the first one counts
  for (const rule of profile.syscalls) {
    const action = actionOf(rule.action, rule.errnoRet);
    for (const name of rule.names) {
      const nr = table.get(name);
      if (nr === undefined) continue;
      const known = result.get(nr) ?? { conditionals: [], otherwise: fallback };
      const alternatives = conditionalsOf(rule.args ?? [], action);
      if (alternatives.length > 0) {
        result.set(nr, { ...known, conditionals: [...known.conditionals, ...alternatives] });
      } else if (!decided.has(nr)) {
        decided.add(nr);
        result.set(nr, { ...known, otherwise: action });
      }
    }
  }
  return result;
}

/** Conditions on different arguments hold together; several on one argument are alternatives. */
function conditionalsOf(args: readonly SeccompArg[], action: number): Conditional[] {
  if (args.length === 0) return [];
  const indexes = new Set(args.map((arg) => arg.index));
  if (indexes.size === args.length) return [{ action, args }];
  return args.map((arg) => ({ action, args: [arg] }));
}

interface Range {
  readonly outcome: Outcome;
  /** first number that is not in it; null = the rest */
  readonly end: number | null;
}

/** Neighbouring numbers with the same plain outcome share one comparison. */
function ranges(byNumber: ReadonlyMap<number, Outcome>, fallback: number): Range[] {
  const rest: Outcome = { conditionals: [], otherwise: fallback };
  const last = Math.max(-1, ...byNumber.keys());
  const result: Range[] = [];
  for (let nr = 0; nr <= last; nr++) {
    const outcome = byNumber.get(nr) ?? rest;
    const before = result.at(-1);
    if (before !== undefined && isSame(before.outcome, outcome)) {
      result[result.length - 1] = { outcome, end: nr + 1 };
    } else {
      result.push({ outcome, end: nr + 1 });
    }
  }
  return [...result, { outcome: rest, end: null }];
}

function isSame(a: Outcome, b: Outcome): boolean {
  return a.conditionals.length === 0 && b.conditionals.length === 0 && a.otherwise === b.otherwise;
}

function outcomeBlock(outcome: Outcome): Instruction[] {
  return [
    ...outcome.conditionals.flatMap(conditionalBlock),
    { code: RETURN, k: outcome.otherwise },
  ];
}

/** Falls through to what follows it when a condition does not hold. */
function conditionalBlock(rule: Conditional): Instruction[] {
  let block: Instruction[] = [{ code: RETURN, k: rule.action }];
  for (const arg of [...rule.args].reverse()) block = [...comparison(arg, block.length), ...block];
  return block;
}

function halves(value: number): { high: number; low: number } {
  const wide = BigInt.asUintN(64, BigInt(value));
  return { high: Number(wide >> 32n), low: Number(wide & 0xffffffffn) };
}

/** Continues behind itself when the condition holds, else skips `rest` instructions more. */
function comparison(arg: SeccompArg, rest: number): Instruction[] {
  const lowOffset = OFFSET_ARGS + 8 * arg.index; // both architectures are little-endian
  const loadHigh = { code: LOAD, k: lowOffset + 4 };
  const loadLow = { code: LOAD, k: lowOffset };
  const { high, low } = halves(arg.value);
  switch (arg.op) {
    case 'SCMP_CMP_EQ':
      return [
        loadHigh,
        { code: JUMP_EQUAL, k: high, jt: 0, jf: rest + 2 },
        loadLow,
        { code: JUMP_EQUAL, k: low, jt: 0, jf: rest },
      ];
    case 'SCMP_CMP_NE':
      return [
        loadHigh,
        { code: JUMP_EQUAL, k: high, jt: 0, jf: 2 },
        loadLow,
        { code: JUMP_EQUAL, k: low, jt: rest, jf: 0 },
      ];
    case 'SCMP_CMP_MASKED_EQ': {
      const wanted = halves(arg.valueTwo ?? 0);
      return [
        loadHigh,
        { code: AND, k: high },
        { code: JUMP_EQUAL, k: wanted.high, jt: 0, jf: rest + 3 },
        loadLow,
        { code: AND, k: low },
        { code: JUMP_EQUAL, k: wanted.low, jt: 0, jf: rest },
      ];
    }
    case 'SCMP_CMP_GT':
    case 'SCMP_CMP_GE':
      return ordered(arg, rest, false);
    case 'SCMP_CMP_LE':
    case 'SCMP_CMP_LT':
      return ordered(arg, rest, true);
    default:
      throw new SkepError('invalid-argument', `seccomp: operator ${arg.op} is not supported`);
  }
}

/** a > v and a >= v; negated, a <= v and a < v. */
function ordered(arg: SeccompArg, rest: number, negated: boolean): Instruction[] {
  const lowOffset = OFFSET_ARGS + 8 * arg.index;
  const { high, low } = halves(arg.value);
  const strict = arg.op === 'SCMP_CMP_GT' || arg.op === 'SCMP_CMP_LE';
  const code = strict ? JUMP_GREATER : JUMP_GREATER_EQUAL;
  const holds = negated ? rest : 0;
  const fails = negated ? 0 : rest;
  return [
    { code: LOAD, k: lowOffset + 4 },
    { code: JUMP_GREATER, k: high, jt: holds + 3, jf: 0 },
    { code: JUMP_EQUAL, k: high, jt: 0, jf: fails + 2 },
    { code: LOAD, k: lowOffset },
    { code, k: low, jt: holds, jf: fails },
  ];
}

function encode(program: readonly Instruction[]): Uint8Array {
  if (program.length > INSTRUCTIONS_MAX) {
    throw new SkepError('invalid-argument', `seccomp: ${program.length} instructions are too many`);
  }
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach((instruction, index) => {
    bytes.writeUInt16LE(instruction.code, index * 8);
    bytes.writeUInt8(instruction.jt ?? 0, index * 8 + 2);
    bytes.writeUInt8(instruction.jf ?? 0, index * 8 + 3);
    bytes.writeUInt32LE(instruction.k >>> 0, index * 8 + 4);
  });
  return bytes;
}
