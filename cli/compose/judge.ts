/**
 * What becomes of each key of a model, with its place: the tables' verdicts over the values that
 * stand there. Nothing that a file says is missing from the answer.
 */
import { assertNever } from '../../common/base/assert.ts';
import type { Key, Shape, Verdict } from './keys/key.ts';
import { STACK_FILE } from './keys/top-keys.ts';
import type { Place } from './problems.ts';
import { childPath, type MapValue, type Value } from './tree.ts';

/** `replaced`, `merged`: by or with a value of a later file, which is judged itself. */
export type FactKind =
  | 'honoured'
  | 'mapped'
  | 'ignored'
  | 'refused'
  | 'replaced'
  | 'merged'
  | 'extension';

export interface Fact {
  /** dotted, e.g. `services.web.ports` */
  readonly path: string;
  /** of the key */
  readonly place: Place;
  readonly kind: FactKind;
  /** what it becomes, or why it becomes nothing */
  readonly text: string;
}

/** In the order of the model. What stands within an ignored or refused key is part of it. */
export function judgeKeys(model: MapValue): Fact[] {
  const facts: Fact[] = [];
  walk(model, STACK_FILE, '', facts);
  return facts;
}

function walk(value: Value, shape: Shape, path: string, facts: Fact[]): void {
  if (value.kind === 'list') {
    if (!shape.list) return;
    for (const [index, item] of value.items.entries()) {
      walk(item, shape.list.of, childPath(path, index), facts);
    }
  }
  if (value.kind !== 'map') return;
  for (const [name, { keyPlace, value: inner }] of value.entries) {
    const innerPath = childPath(path, name);
    const key = shape.map && Object.hasOwn(shape.map.keys, name) ? shape.map.keys[name] : undefined;
    if (key) judgeKey(key, inner, innerPath, keyPlace, facts);
    else if (shape.map) {
      facts.push({ path: innerPath, place: keyPlace, kind: 'extension', text: 'not read' });
    } else if (shape.dict) walk(inner, shape.dict.of, innerPath, facts);
  }
}

function judgeKey(key: Key, value: Value, path: string, place: Place, facts: Fact[]): void {
  if (value.kind === 'broken') return;
  const verdict: Verdict = key.judge?.(value) ?? key.verdict;
  switch (verdict.kind) {
    case 'section':
      walk(value, key.shape, path, facts);
      return;
    case 'honoured':
    case 'mapped':
      facts.push({ path, place, kind: verdict.kind, text: verdict.to });
      walk(value, key.shape, path, facts);
      return;
    case 'ignored':
    case 'refused':
      facts.push({ path, place, kind: verdict.kind, text: verdict.why });
      return;
    default:
      assertNever(verdict);
  }
}
