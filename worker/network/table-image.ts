/**
 * A picture of an nft table as we mean it to be, and what the kernel's differs from it in. Pure. The
 * kernel's dump says more than we wrote (counters, flags): what we wrote must be in it, in our order.
 */
import {
  type Attribute,
  attributeList,
  attributes,
  MessageBatch,
  textOf,
} from '../../native/ffi/net/message.ts';
import {
  type ChainHook,
  type Expression,
  HOOK_NUMBER,
  type SetElement,
  type SetSpec,
  type TableWriter,
  VERDICT_CODE,
} from '../../native/ffi/net/nft.ts';
import type { TableState } from '../../native/ffi/net/nft-state.ts';
import type { Difference } from './kernel-facts.ts';

const EMPTY = Buffer.alloc(0);

interface ImageSet {
  readonly spec: SetSpec;
  /** key -> value, in hexadecimal or as a verdict's words */
  readonly elements: Map<string, string>;
}

export class TableImage implements TableWriter {
  readonly #chains = new Map<
    string,
    { readonly hook: ChainHook | null; readonly rules: Buffer[] }
  >();
  readonly #sets = new Map<string, ImageSet>();

  addChain(name: string, hook: ChainHook | null = null): void {
    this.#chains.set(name, { hook, rules: [] });
  }

  addRule(chain: string, expressions: readonly Expression[]): void {
    const rule = MessageBatch.attributesOf((batch) => {
      for (const expression of expressions) expression(batch);
    });
    this.#chains.get(chain)?.rules.push(rule);
  }

  addSet(name: string, spec: SetSpec): void {
    this.#sets.set(name, { spec, elements: new Map() });
  }

  addElements(set: string, elements: readonly SetElement[]): void {
    for (const { key, data } of elements) {
      this.#sets.get(set)?.elements.set(Buffer.from(key).toString('hex'), wordsOf(data));
    }
  }

  /** Everything that the kernel's table has otherwise. */
  differences(state: TableState): Difference[] {
    const found: Difference[] = [];
    for (const [name, { hook, rules }] of this.#chains) {
      const chain = state.chains.get(name);
      if (!chain) found.push(missing(`chain ${name}`));
      else if (hookWords(chain) !== wordsOfHook(hook)) {
        found.push({ what: `chain ${name}`, wanted: wordsOfHook(hook), found: hookWords(chain) });
      }
      found.push(...ruleDifferences(name, rules, state.rules.get(name) ?? []));
    }
    for (const [name, set] of this.#sets) {
      if (!state.sets.has(name)) found.push(missing(`set ${name}`));
      found.push(...elementDifferences(name, set, state.elements.get(name) ?? []));
    }
    for (const name of state.chains.keys()) {
      if (!this.#chains.has(name)) found.push(extra(`chain ${name}`));
    }
    for (const name of state.sets.keys()) {
      if (!this.#sets.has(name)) found.push(extra(`set ${name}`));
    }
    return found;
  }
}

const missing = (what: string): Difference => ({ what, wanted: 'there', found: null });
const extra = (what: string): Difference => ({ what, wanted: null, found: 'there' });

function ruleDifferences(
  chain: string,
  wanted: readonly Buffer[],
  found: readonly Buffer[],
): Difference[] {
  const differences: Difference[] = [];
  for (let i = 0; i < Math.max(wanted.length, found.length); i++) {
    const what = `rule ${i} of chain ${chain}`;
    const mine = wanted[i];
    const theirs = found[i];
    if (!mine) differences.push(extra(what));
    else if (!theirs) differences.push(missing(what));
    else if (!sameRule(mine, theirs)) {
      differences.push({ what, wanted: expressionNames(mine), found: expressionNames(theirs) });
    }
  }
  return differences;
}

/** Expression by expression; of each one what we wrote. */
function sameRule(mine: Buffer, theirs: Buffer): boolean {
  const wanted = attributeList(mine);
  const found = attributeList(theirs);
  return wanted.length === found.length && wanted.every((it, i) => contains(found[i], it));
}

function contains(found: Attribute | undefined, wanted: Attribute): boolean {
  if (!found) return false;
  if (!wanted.nested) return found.value.equals(wanted.value);
  const members = attributeList(found.value);
  return attributeList(wanted.value).every((it) =>
    contains(
      members.find(({ type }) => type === it.type),
      it,
    ),
  );
}

function expressionNames(rule: Buffer): string {
  return attributeList(rule)
    .map(({ value }) => textOf(attributes(value).get(1) ?? EMPTY))
    .join(' ');
}

function elementDifferences(
  name: string,
  { elements }: ImageSet,
  found: readonly ReadonlyMap<number, Buffer>[],
): Difference[] {
  const differences: Difference[] = [];
  const seen = new Set<string>();
  for (const element of found) {
    const key = (attributes(element.get(1) ?? EMPTY).get(1) ?? EMPTY).toString('hex');
    const value = valueWords(element.get(2));
    const wanted = elements.get(key) ?? null;
    seen.add(key);
    if (wanted !== value)
      differences.push({ what: `element ${key} of ${name}`, wanted, found: value });
  }
  for (const [key, wanted] of elements) {
    if (!seen.has(key))
      differences.push({ what: `element ${key} of ${name}`, wanted, found: null });
  }
  return differences;
}

/** In words that `valueWords` reads out of the kernel's. '' = a set's element, without a value. */
function wordsOf(data: SetElement['data']): string {
  if (data === undefined) return '';
  if (data instanceof Uint8Array) return Buffer.from(data).toString('hex');
  return verdictWords(VERDICT_CODE[data.kind], 'chain' in data ? data.chain : '');
}

function valueWords(data: Buffer | undefined): string {
  if (!data) return '';
  const parts = attributes(data);
  const verdict = parts.get(2);
  if (!verdict) return (parts.get(1) ?? EMPTY).toString('hex');
  const members = attributes(verdict);
  return verdictWords(members.get(1)?.readInt32BE() ?? 0, textOf(members.get(2) ?? EMPTY));
}

const verdictWords = (code: number, chain: string): string => `verdict ${code} ${chain}`.trim();

function wordsOfHook(hook: ChainHook | null): string {
  return hook ? `${hook.type} ${HOOK_NUMBER[hook.hook]} ${hook.priority}` : 'no hook';
}

function hookWords(chain: ReadonlyMap<number, Buffer>): string {
  const hook = chain.get(4);
  if (!hook) return 'no hook';
  const members = attributes(hook);
  const type = textOf(chain.get(7) ?? EMPTY);
  return `${type} ${members.get(1)?.readUInt32BE()} ${members.get(2)?.readInt32BE()}`;
}
