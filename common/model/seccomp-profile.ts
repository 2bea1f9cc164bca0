/**
 * A seccomp profile of the user's own, in the form of Docker's `seccomp=FILE`: read and checked here,
 * the same for who takes it in and who runs it. Knows no system calls and no kernel.
 */
import { SkepError } from '../base/errors.ts';

export interface SeccompArgCondition {
  /** 0..5 */
  readonly index: number;
  readonly value: number;
  readonly valueTwo: number;
  readonly op: string;
}

/** When a rule holds: for these architectures (Go's names), with these capabilities, from this kernel on. */
export interface SeccompCondition {
  readonly arches: readonly string[];
  readonly caps: readonly string[];
  /** `major.minor`; '' = any */
  readonly minKernel: string;
}

export interface SeccompDocumentRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet: number | null;
  readonly args: readonly SeccompArgCondition[];
  readonly includes: SeccompCondition;
  readonly excludes: SeccompCondition;
}

export interface SeccompDocument {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number | null;
  readonly rules: readonly SeccompDocumentRule[];
}

/** Those that need nobody beside the process: no tracer, no listener. */
export const SECCOMP_ACTIONS = [
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_LOG',
  'SCMP_ACT_ALLOW',
] as const;

export const SECCOMP_OPERATORS = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const;

/** Every task of the service carries it. */
const PROFILE_BYTES_MAX = 128 * 1024;
/** `architectures` and `archMap` may stand there and are not looked at: a filter is this machine's. */
const PROFILE_KEYS = [
  'defaultAction',
  'defaultErrnoRet',
  'architectures',
  'archMap',
  'flags',
  'listenerPath',
  'syscalls',
];
const RULE_KEYS = [
  'name',
  'names',
  'action',
  'errnoRet',
  'args',
  'comment',
  'includes',
  'excludes',
];
const ARG_KEYS = ['index', 'value', 'valueTwo', 'op'];
const CONDITION_KEYS = ['arches', 'caps', 'minKernel'];
const ARG_INDEX_MAX = 5;
const ERRNO_MAX = 4095;

/** Throws `invalid-argument` that names the key. */
export function parseSeccompProfile(text: string): SeccompDocument {
  const bytes = Buffer.byteLength(text);
  if (bytes > PROFILE_BYTES_MAX) {
    throw invalid('the document', `has ${bytes} bytes: at most ${PROFILE_BYTES_MAX} are allowed`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SkepError('invalid-argument', 'seccomp profile: it is not JSON', { cause });
  }
  const profile = new Keys('', json, PROFILE_KEYS);
  if (profile.has('flags') && profile.list('flags').length > 0)
    profile.fail('flags', 'cannot be set');
  if (profile.has('listenerPath')) profile.fail('listenerPath', 'cannot be set');
  return {
    defaultAction: profile.oneOf('defaultAction', SECCOMP_ACTIONS),
    defaultErrnoRet: profile.optionalNumber('defaultErrnoRet', ERRNO_MAX),
    rules: profile
      .list('syscalls')
      .map((rule, i) => ruleOf(new Keys(`syscalls[${i}].`, rule, RULE_KEYS))),
  };
}

function ruleOf(rule: Keys): SeccompDocumentRule {
  const name = rule.has('name') ? [rule.text('name')] : []; // the older form: one each
  const names = rule.has('names') ? rule.texts('names') : name;
  if (names.length === 0) rule.fail('names', 'is missing');
  return {
    names,
    action: rule.oneOf('action', SECCOMP_ACTIONS),
    errnoRet: rule.optionalNumber('errnoRet', ERRNO_MAX),
    args: rule
      .list('args')
      .map((arg, i) => argOf(new Keys(`${rule.path}args[${i}].`, arg, ARG_KEYS))),
    includes: conditionOf(rule.inside('includes', CONDITION_KEYS)),
    excludes: conditionOf(rule.inside('excludes', CONDITION_KEYS)),
  };
}

function argOf(arg: Keys): SeccompArgCondition {
  return {
    index: arg.number('index', ARG_INDEX_MAX),
    value: arg.number('value'),
    valueTwo: arg.optionalNumber('valueTwo') ?? 0,
    op: arg.oneOf('op', SECCOMP_OPERATORS),
  };
}

function conditionOf(condition: Keys): SeccompCondition {
  const minKernel = condition.has('minKernel') ? condition.text('minKernel') : '';
  if (minKernel !== '' && !/^\d+\.\d+$/.test(minKernel)) {
    condition.fail('minKernel', 'must be like 4.8');
  }
  return {
    arches: condition.has('arches') ? condition.texts('arches') : [],
    caps: condition.has('caps') ? condition.texts('caps') : [],
    minKernel,
  };
}

/** The keys of one JSON object, no others, with its place for messages. null and absent are the same. */
class Keys {
  readonly path: string;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(path: string, value: unknown, known: readonly string[]) {
    this.path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalid(path.slice(0, -1) || 'the document', 'must be an object');
    }
    this.#values = value as Readonly<Record<string, unknown>>;
    const unknown = Object.keys(value).find((name) => !known.includes(name));
    if (unknown !== undefined) this.fail(unknown, 'is not a key that is known');
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== null;
  }

  fail(name: string, rule: string): never {
    throw invalid(this.path + name, rule);
  }

  text(name: string): string {
    const value = this.#values[name];
    return typeof value === 'string' && value !== '' ? value : this.fail(name, 'must be a text');
  }

  oneOf<T extends string>(name: string, known: readonly T[]): T {
    const text = this.text(name);
    return known.find((one) => one === text) ?? this.fail(name, `${text} is not supported`);
  }

  number(name: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.#values[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
      this.fail(name, `must be a number from 0 to ${max}`);
    }
    return value;
  }

  optionalNumber(name: string, max?: number): number | null {
    return this.has(name) ? this.number(name, max) : null;
  }

  list(name: string): readonly unknown[] {
    const value = this.#values[name] ?? [];
    return Array.isArray(value) ? value : this.fail(name, 'must be a list');
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((value) =>
      typeof value === 'string' ? value : this.fail(name, 'must be a list of texts'),
    );
  }

  inside(name: string, known: readonly string[]): Keys {
    return new Keys(`${this.path}${name}.`, this.#values[name] ?? {}, known);
  }
}

function invalid(where: string, rule: string): SkepError {
  return new SkepError('invalid-argument', `seccomp profile: ${where} ${rule}`);
}
