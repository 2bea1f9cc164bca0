/**
 * Placement constraints: their grammar and what they mean for a node, as in Swarm. Shared by
 * the control API (validation), the scheduler and the constraint enforcer.
 */
import { BlockList, isIP } from 'node:net';
import { SkepError } from '../base/errors.ts';
import type { Node } from './node.ts';

export interface Constraint {
  readonly key: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

/** `==` is looked for first, so that `a!=b==c` splits at `==`. */
const OPERATORS = ['==', '!='] as const;
const KEY_PATTERN = /^[a-z_][a-z0-9\-_.]+$/i;
const VALUE_PATTERN = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;
const NODE_LABEL_PREFIX = 'node.labels.';
const ENGINE_LABEL_PREFIX = 'engine.labels.';

/** Throws `invalid-argument`. */
export function parseConstraint(text: string): Constraint {
  for (const operator of OPERATORS) {
    const at = text.indexOf(operator);
    if (at < 0) continue;
    const key = text.slice(0, at).trim();
    const value = text.slice(at + operator.length).trim();
    if (!KEY_PATTERN.test(key)) throw new SkepError('invalid-argument', `key '${key}' is invalid`);
    if (!VALUE_PATTERN.test(value)) {
      throw new SkepError('invalid-argument', `value '${value}' is invalid`);
    }
    return { key, operator, value };
  }
  throw new SkepError(
    'invalid-argument',
    `constraint expected one operator from ${OPERATORS.join(', ')}: '${text}'`,
  );
}

/** Throws `invalid-argument` at the first that cannot be parsed. */
export function parseConstraints(texts: readonly string[]): readonly Constraint[] {
  return texts.map(parseConstraint);
}

/**
 * The constraints of a stored object. They were validated when it was written; should one be unreadable
 * all the same, no node meets it, and nobody who reads it fails.
 */
export function storedConstraints(texts: readonly string[]): readonly Constraint[] {
  return texts.map((text) => {
    try {
      return parseConstraint(text);
    } catch (err) {
      if (err instanceof SkepError) return { key: '', operator: '==', value: text };
      throw err;
    }
  });
}

/** True when the node meets every constraint. */
export function nodeMeetsConstraints(node: Node, constraints: readonly Constraint[]): boolean {
  return constraints.every((constraint) => nodeMeetsConstraint(node, constraint));
}

/** Keys of no known form are never met: the task waits, with an explanation. */
export function nodeMeetsConstraint(node: Node, constraint: Constraint): boolean {
  return constraintTest(constraint)(node);
}

/** The same for thousands of nodes: what the constraint itself says is worked out once. */
export function constraintTest(constraint: Constraint): (node: Node) => boolean {
  const { key, operator } = constraint;
  const read = nodeReader(key);
  if (read === null) return () => false;
  if (key.toLowerCase() === 'node.ip') return (node) => compareIp(constraint, read(node));
  const wanted = constraint.value.toLowerCase();
  return (node) => {
    const actual = read(node);
    return (operator === '==') === (actual === wanted || actual.toLowerCase() === wanted);
  };
}

/** What constraints on `key` look at, empty where the node has none; null = no constraint has such a key. */
export function nodeValueOf(node: Node, key: string): string | null {
  return nodeReader(key)?.(node) ?? null;
}

function nodeReader(key: string): ((node: Node) => string) | null {
  const folded = key.toLowerCase();
  switch (folded) {
    case 'node.id':
      return ({ id }) => id;
    case 'node.hostname':
      return ({ description }) => description?.hostname ?? '';
    case 'node.ip':
      return ({ status }) => status.address;
    case 'node.role':
      return ({ role }) => role;
    case 'node.platform.os':
      return ({ description }) => description?.platform.os ?? '';
    case 'node.platform.arch':
      return ({ description }) => description?.platform.architecture ?? '';
    default:
  }
  // Label keys, unlike the words before them, are case-sensitive.
  if (folded.startsWith(NODE_LABEL_PREFIX) && key.length > NODE_LABEL_PREFIX.length) {
    const name = key.slice(NODE_LABEL_PREFIX.length);
    return ({ spec }) => labelOf(spec.labels, name);
  }
  if (folded.startsWith(ENGINE_LABEL_PREFIX) && key.length > ENGINE_LABEL_PREFIX.length) {
    const name = key.slice(ENGINE_LABEL_PREFIX.length);
    return ({ description }) => (description ? labelOf(description.engineLabels, name) : '');
  }
  return null;
}

function labelOf(labels: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(labels, name) ? labels[name]! : '';
}

/** One address, or a CIDR that holds it; what is neither never matches, whatever the operator. */
function compareIp({ operator, value }: Constraint, actual: string): boolean {
  const family = isIP(value);
  if (family !== 0) return (operator === '==') === (isIP(actual) === family && same(value, actual));
  const slash = value.lastIndexOf('/');
  const base = value.slice(0, slash);
  const prefix = value.slice(slash + 1);
  const baseFamily = slash < 0 ? 0 : isIP(base);
  if (baseFamily === 0 || !/^\d{1,3}$/.test(prefix)) return false;
  if (Number(prefix) > (baseFamily === 4 ? 32 : 128)) return false;
  const type = baseFamily === 4 ? 'ipv4' : 'ipv6';
  const subnet = new BlockList();
  subnet.addSubnet(base, Number(prefix), type);
  const inside = isIP(actual) === baseFamily && subnet.check(actual, type);
  return (operator === '==') === inside;
}

function same(a: string, b: string): boolean {
  const family = isIP(a) === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addAddress(a, family);
  return list.check(b, family);
}
