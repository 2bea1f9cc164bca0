/** The text of a stack file -> its values, or what is wrong with its form, and where. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLError,
} from 'yaml';
import { findOddBlanks } from './blanks.ts';
import {
  type Place,
  type Problem,
  problemAt,
  type SourceText,
  StackFileError,
} from './problems.ts';
import {
  brokenValue,
  Findings,
  isNull,
  listValue,
  type MapEntry,
  type Mark,
  mapValue,
  scalarValue,
  type Value,
} from './tree.ts';

/**
 * Values of one file once every alias is followed. A file of 10,000 lines has some 30,000; aliases
 * of aliases can make a million out of ten lines.
 */
const VALUES_MAX = 300_000;
const MERGE_KEY = '<<';
/** Errors of form that are looked into: after the first, most follow from it. */
const ERRORS_MAX = 100;
/** Characters around an error that are looked at for its cause. */
const CONTEXT_MAX = 200;

/** null for a file without any value. Throws `StackFileError` for what is no YAML. */
export function parseStackText(source: SourceText): Value | null {
  const blanks = findOddBlanks(source).map(({ line, column, length, name, where }) => ({
    source,
    line,
    column,
    length,
    message: `${name} used as ${where}: YAML takes spaces only (--fix-whitespace reads it as spaces)`,
  }));
  if (blanks.length > 0) throw new StackFileError(blanks);
  // Keys that stand twice are found below, with the place of the first.
  const document = parseDocument(source.text, {
    prettyErrors: false,
    merge: true,
    uniqueKeys: false,
  });
  const problems = document.errors.slice(0, ERRORS_MAX).map((err) => problemOf(source, err));
  if (problems.length > 0) throw new StackFileError(problems);
  const reader = new NodeReader(source, document);
  const value = document.contents === null ? null : reader.read(document.contents as Node, null);
  if (reader.findings.problems.length > 0) throw new StackFileError(reader.findings.problems);
  return value === null || isNull(value) ? null : value;
}

const MARKS: Readonly<Record<string, Mark>> = { '!reset': 'reset', '!override': 'override' };

/** Walks the nodes in file order, so that an alias finds the anchor that stands last before it. */
class NodeReader {
  readonly findings = new Findings();
  readonly #source: SourceText;
  readonly #anchors = new Map<string, Value | 'open'>();
  #tooLarge = false;

  constructor(source: SourceText, document: Document) {
    this.#source = source;
    for (const { pos, message } of document.warnings) {
      const [start, end] = pos;
      if (source.text.slice(start, end) in MARKS) continue;
      this.findings.problem({ source, start, end }, lowerFirst(message));
    }
  }

  /** @param place of the key, for a value left empty */
  read(node: Node | null, place: Place | null): Value {
    const here = this.#placeOf(node, place);
    if (node === null) return scalarValue(here, null, '');
    if (isAlias(node)) return this.#limited(this.#aliased(node.source, here));
    const { anchor } = node as { readonly anchor?: string };
    if (anchor !== undefined) this.#anchors.set(anchor, 'open');
    const value = this.#limited(this.#readNode(node, here));
    if (anchor !== undefined) this.#anchors.set(anchor, value);
    return value;
  }

  #readNode(node: Node, here: Place): Value {
    const mark = MARKS[node.tag ?? ''] ?? null;
    if (isMap(node)) return mapValue(here, this.#entries(node.items as Pair[]), mark);
    if (isSeq(node)) {
      const items = (node.items as (Node | null)[]).map((item) => this.read(item, here));
      return listValue(here, items, mark);
    }
    if (!isScalar(node)) return this.findings.broken(here, 'this is no value of a stack file');
    return scalarOf(node, here, mark);
  }

  #entries(pairs: readonly Pair[]): ReadonlyMap<string, MapEntry> {
    const own = new Map<string, MapEntry>();
    const merged: MapEntry[] = [];
    for (const pair of pairs as readonly Pair<Node, Node | null>[]) {
      const keyPlace = this.#placeOf(pair.key, null);
      if (!isScalar(pair.key)) {
        this.findings.problem(keyPlace, 'a key must be a plain word');
        continue;
      }
      const name = pair.key.source ?? String(pair.key.value);
      const entry = { keyPlace, value: this.read(pair.value, keyPlace) };
      const isMerge = name === MERGE_KEY && pair.key.type === 'PLAIN';
      const first = isMerge ? undefined : own.get(name);
      if (isMerge) merged.push(entry);
      else if (first) this.#twice(name, keyPlace, first.keyPlace);
      else own.set(name, entry);
    }
    for (const { keyPlace, value } of merged) this.#merge(own, keyPlace, value);
    return own;
  }

  #twice(name: string, place: Place, first: Place): void {
    const { line } = this.#source.position(first.start);
    this.findings.problem(place, `key '${name}' stands here twice: the first is on line ${line}`);
  }

  /** What `<<` brings: a map, or several of which the earlier win; own keys win over all. */
  #merge(own: Map<string, MapEntry>, keyPlace: Place, value: Value): void {
    const maps = value.kind === 'list' ? value.items : [value];
    for (const map of maps) {
      if (map.kind === 'broken') continue;
      if (map.kind !== 'map') {
        this.findings.problem(keyPlace, '<< must name a mapping');
        continue;
      }
      for (const [name, entry] of map.entries) if (!own.has(name)) own.set(name, entry);
    }
  }

  #aliased(anchor: string, here: Place): Value {
    const value = this.#anchors.get(anchor);
    if (value === undefined) {
      return this.findings.broken(here, `no anchor &${anchor} stands before this alias`);
    }
    if (value !== 'open') return value;
    return this.findings.broken(here, `alias *${anchor} stands within its own anchor`);
  }

  #limited(value: Value): Value {
    if (value.size <= VALUES_MAX) return value;
    if (this.#tooLarge) return brokenValue(value.place);
    this.#tooLarge = true;
    const words = `more than ${VALUES_MAX} values once every alias is followed`;
    return this.findings.broken(value.place, words);
  }

  #placeOf(node: Node | null, fallback: Place | null): Place {
    const [start = 0, end = 0] = node?.range ?? [];
    if (end > start || fallback === null) return { source: this.#source, start, end };
    return fallback;
  }
}

function scalarOf({ value, source }: Scalar, here: Place, mark: Mark | null): Value {
  switch (typeof value) {
    case 'string':
      return scalarValue(here, value, value, mark);
    case 'number':
    case 'boolean':
      return scalarValue(here, value, source ?? String(value), mark);
    default:
      return scalarValue(here, null, '', mark);
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

const WORDS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'tab used as indentation: YAML takes spaces only',
  BAD_INDENT: 'this line is not indented like the ones it belongs to',
  MULTIPLE_DOCS: 'a stack file is one document: this begins a second one',
};

function problemOf(source: SourceText, err: YAMLError): Problem {
  const quote = /^Missing closing (["'])/.exec(err.message)?.[1];
  if (quote !== undefined) return openQuote(source, quote);
  const [from, to] = err.pos;
  // Of a line with a wrong indentation the parser names the end of the line before.
  const start = err.code === 'BAD_INDENT' && source.text[from] === '\n' ? from + 1 : from;
  // Of a key it points at the first character only.
  const word =
    /^[ \t]*[\w.-]+/.exec(source.text.slice(start, start + CONTEXT_MAX))?.[0].length ?? 1;
  const message = missingBlank(source, start) ?? wordsOf(err);
  return problemAt({ source, start, end: Math.max(to, start + word) }, message);
}

function wordsOf({ code, message }: YAMLError): string {
  if (message.includes('call stack')) return 'values are nested too deeply';
  return WORDS[code] ?? lowerFirst(message);
}

/** The last quote of its kind in the file opens the text: any other would have closed it. */
function openQuote(source: SourceText, quote: string): Problem {
  let start = source.text.lastIndexOf(quote);
  while (quote === '"' && source.text[start - 1] === '\\') {
    start = source.text.lastIndexOf(quote, start - 1);
  }
  return problemAt({ source, start, end: start + 1 }, `this ${quote} is not closed`);
}

/** `"80":"80"`: two quoted texts with a colon between them are neither a text nor a mapping. */
function missingBlank({ text }: SourceText, start: number): string | null {
  const lineStart = Math.max(text.lastIndexOf('\n', start - 1) + 1, start - CONTEXT_MAX);
  const before = /(["'])([^"']*)\1:?$/.exec(text.slice(lineStart, start));
  const after = /^:?(["'])([^"'\n]*)\1/.exec(text.slice(start, start + CONTEXT_MAX));
  if (!before || !after) return null;
  const pair = `${before[2]}:${after[2]}`;
  return `two quoted texts with ":" between them: quote the pair as a whole, "${pair}"`;
}
