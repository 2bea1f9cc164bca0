/**
 * Branches and lines of the Raft core that the simulation reached. A branch is one way out of a
 * decision: both of `if` (the missing `else` too), of `?:` and of `&&`, `||`, `??`, each `case`, and
 * every function's body. Ways that end in an assertion or another `throw` count like the others.
 */
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type AnyNode, type Node, parse } from 'acorn';
import type { CountedRange, FileCoverage } from './coverage-recorder.ts';
import { whyUnreachable } from './unreachable.ts';

export interface Missed {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

/** Ways that were not gone and cannot be are not among the branches. */
export interface CoverageSummary {
  readonly branches: number;
  readonly branchesReached: number;
  readonly lines: number;
  readonly linesReached: number;
  readonly missed: readonly Missed[];
  /** Number of ways left out, by reason. */
  readonly unreachable: ReadonlyMap<string, number>;
}

/** One way, and how often it was gone in all processes together. */
interface Way {
  readonly line: number;
  readonly what: string;
  count: number;
}

export function summarize(perProcess: readonly (readonly FileCoverage[])[]): CoverageSummary {
  const ways = new Map<string, Map<string, Way>>();
  const lines = new Map<string, Map<number, number>>();
  for (const file of perProcess.flat()) {
    const known = ways.get(file.file) ?? new Map<string, Way>();
    const knownLines = lines.get(file.file) ?? new Map<number, number>();
    ways.set(file.file, known);
    lines.set(file.file, knownLines);
    const script = new Script(file);
    script.walk(
      (key, way) => {
        const before = known.get(key);
        if (before === undefined) known.set(key, way);
        else before.count += way.count;
      },
      (line, count) => knownLines.set(line, (knownLines.get(line) ?? 0) + count),
    );
  }
  const all = [...ways].flatMap(([file, some]) =>
    [...some.values()].map((way) => ({ file, ...way })),
  );
  const unreachable = new Map<string, number>();
  const missed = all.filter(({ file, line, count }) => {
    if (count > 0) return false;
    const why = whyUnreachable(file, sourceLine(file, line));
    if (why !== null) unreachable.set(why, (unreachable.get(why) ?? 0) + 1);
    return why === null;
  });
  const reached = all.filter(({ count }) => count > 0).length;
  const allLines = [...lines.values()].flatMap((some) => [...some.values()]);
  return {
    branches: reached + missed.length,
    branchesReached: reached,
    lines: allLines.length,
    linesReached: allLines.filter((count) => count > 0).length,
    missed: missed.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)),
    unreachable,
  };
}

function sourceLine(file: string, line: number): string {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  return readFileSync(path, 'utf8').split('\n')[line - 1] ?? '';
}

type TellWay = (key: string, way: Way) => void;
type TellLine = (line: number, count: number) => void;

/** One file as one process ran it. */
class Script {
  readonly #script: string;
  readonly #map: SourceMap | null;
  /** Outer ranges before inner ones. */
  readonly #ranges: readonly CountedRange[];
  readonly #lineStarts: number[] = [0];

  constructor({ script, ranges }: FileCoverage) {
    this.#script = script;
    this.#map = sourceMapOf(script);
    // Modules were loaded before the recording began.
    const parts = ranges.filter(({ from, to }) => from > 0 || to < script.length);
    this.#ranges = parts.toSorted((a, b) => a.from - b.from || b.to - a.to);
    for (let at = script.indexOf('\n'); at >= 0; at = script.indexOf('\n', at + 1)) {
      this.#lineStarts.push(at + 1);
    }
  }

  walk(way: TellWay, line: TellLine): void {
    const tree = parse(this.#script, { ecmaVersion: 'latest', sourceType: 'module' });
    const visit = (node: AnyNode): void => {
      // What has no place in the source is a helper of the transformation.
      if (this.#isOurs(node.start)) this.#judge(node, way);
      if (isStatement(node) && this.#isOurs(node.start))
        line(this.#lineOf(node.start), this.#countAt(node.start));
      for (const child of childrenOf(node)) visit(child);
    };
    visit(tree);
  }

  #judge(node: AnyNode, tell: TellWay): void {
    const one = (part: Node, what: string, count = this.#countAt(part.start)): void => {
      const line = this.#lineOf(part.start);
      tell(`${node.start}/${what}`, { line, what, count });
    };
    switch (node.type) {
      case 'IfStatement': {
        const taken = this.#countAt(node.consequent.start);
        one(node.consequent, 'if');
        if (node.alternate) one(node.alternate, 'else');
        else one(node, 'no else', this.#countAt(node.start) - taken);
        return;
      }
      case 'ConditionalExpression':
        one(node.consequent, '?');
        one(node.alternate, ':');
        return;
      case 'LogicalExpression': {
        const right = this.#countAt(node.right.start);
        one(node.right, node.operator);
        one(node, `not ${node.operator}`, this.#countAt(node.start) - right);
        return;
      }
      case 'SwitchCase':
        if (node.consequent[0]) one(node.consequent[0], 'case');
        return;
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
        one(node.body, 'function');
        return;
      default:
    }
  }

  /** Of the innermost range around the place. */
  #countAt(offset: number): number {
    let count = 1;
    for (const range of this.#ranges) {
      if (range.from > offset) break;
      if (offset < range.to) count = range.count;
    }
    return count;
  }

  #isOurs(offset: number): boolean {
    return this.#lineOf(offset) > 0;
  }

  /** From 1; 0 = not from the source. */
  #lineOf(offset: number): number {
    const line = this.#lineStarts.findLastIndex((start) => start <= offset);
    if (this.#map === null) return line + 1;
    const entry = this.#map.findEntry(line, offset - this.#lineStarts[line]!);
    return 'originalLine' in entry ? entry.originalLine + 1 : 0;
  }
}

function sourceMapOf(script: string): SourceMap | null {
  const match =
    /\/\/# sourceMappingURL=data:application\/json[^,]*;base64,([A-Za-z0-9+/=]+)\s*$/.exec(script);
  if (match === null) return null;
  return new SourceMap(JSON.parse(Buffer.from(match[1]!, 'base64').toString()));
}

function isStatement({ type }: AnyNode): boolean {
  const isCode = type.endsWith('Statement') || type === 'VariableDeclaration';
  return isCode && type !== 'BlockStatement';
}

function childrenOf(node: AnyNode): AnyNode[] {
  return Object.values(node)
    .flat()
    .filter((value): value is AnyNode => {
      return typeof value === 'object' && value !== null && typeof value.type === 'string';
    });
}
