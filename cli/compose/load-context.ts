/**
 * What one load shares over all its files: where they are read from, what was found in them. Reads
 * one file at a time; how files go together is not known here.
 */
import { dirname, isAbsolute, join, relative } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import { systemErrorWords } from '../../common/base/system-errors.ts';
import { mendBlanks } from './blanks.ts';
import { conform, type PathBase } from './conform.ts';
import { parseDotenv } from './dotenv.ts';
import type { Environment } from './files.ts';
import { interpolateFile } from './interpolate.ts';
import { STACK_FILE } from './keys/top-keys.ts';
import type { Replaced } from './merge.ts';
import { parseStackText } from './parse.ts';
import { type Place, SourceText, StackFileError } from './problems.ts';
import type { InputFile } from './stack.ts';
import { Findings, type MapValue, mapValue, type Value } from './tree.ts';

/** Something that is true of the files and is no mistake. */
export interface Remark {
  readonly place: Place;
  readonly text: string;
}

/** What one load collects over all its files. */
export class LoadContext {
  readonly findings = new Findings();
  readonly replaced: Replaced[] = [];
  /** keys that are gone from the model because they did their work in making it */
  readonly consumed: { readonly path: string; readonly place: Place }[] = [];
  readonly remarks: Remark[] = [];
  /** places that were read otherwise than they are written, `file:line:column: ...` */
  readonly mended: string[] = [];
  readonly #readFile: (path: string) => Uint8Array;
  readonly #home: string;
  readonly #fixWhitespace: boolean;
  readonly #interpolate: boolean;
  readonly #shown: (path: string) => string;
  readonly #texts = new Map<string, SourceText>();

  constructor(parts: {
    readonly readFile: (path: string) => Uint8Array;
    readonly home: string;
    readonly fixWhitespace: boolean;
    readonly interpolate: boolean;
    /** an absolute path as messages name it */
    readonly shown: (path: string) => string;
  }) {
    this.#readFile = parts.readFile;
    this.#home = parts.home;
    this.#fixWhitespace = parts.fixWhitespace;
    this.#interpolate = parts.interpolate;
    this.#shown = parts.shown;
  }

  base(dir: string): PathBase {
    return { dir, home: this.#home };
  }

  /** A file that another one names; null (and a problem at `place`) when it cannot be read. */
  open(path: string, place: Place): SourceText | null {
    const known = this.#texts.get(path);
    if (known) return known;
    const bytes = this.read(path, place);
    if (bytes === null) return null;
    const source = new SourceText(this.#shown(path), Buffer.from(bytes).toString('utf8'));
    this.#texts.set(path, source);
    return source;
  }

  /** null when it cannot be read: a problem at `place`, unless it need not be there and is not. */
  read(path: string, place: Place, isRequired = true): Uint8Array | null {
    try {
      return this.#readFile(path);
    } catch (err) {
      if (isRequired || !isMissing(err)) {
        this.findings.problem(place, this.#unreadable(path, err));
      }
      return null;
    }
  }

  /** undefined for a file that is not there. Throws `invalid-argument` for one that cannot be read. */
  readIfThere(path: string): string | undefined {
    try {
      return Buffer.from(this.#readFile(path)).toString('utf8');
    } catch (err) {
      if (isMissing(err)) return undefined;
      throw new SkepError('invalid-argument', this.#unreadable(path, err));
    }
  }

  #unreadable(path: string, err: unknown): string {
    return `cannot read ${this.#shown(path)}: ${systemErrorWords(err)}`;
  }

  /** The values of one file by itself; null when they cannot be read (the problems are noted). */
  parse(source: SourceText, dir: string, env: Environment): MapValue | null {
    const readable = this.#mended(source);
    try {
      const value = parseStackText(readable);
      const root = value ?? mapValue({ source: readable, start: 0, end: 0 }, new Map());
      const filled = this.#interpolate ? this.#filled(root, env) : root;
      const fit = conform(filled, STACK_FILE, this.base(dir), this.findings);
      return fit.kind === 'map' ? fit : null;
    } catch (err) {
      if (!(err instanceof StackFileError)) throw err;
      this.findings.problems.push(...err.problems);
      return null;
    }
  }

  #filled(root: Value, env: Environment): Value {
    return interpolateFile(root, env, this.findings, ({ place }, name) =>
      this.remarks.push({ place, text: `variable ${name} is not set: it stands for nothing` }),
    );
  }

  #mended(source: SourceText): SourceText {
    if (!this.#fixWhitespace) return source;
    const { text, notes } = mendBlanks(source);
    if (notes.length === 0) return source;
    this.mended.push(...notes.map((note) => `${source.path}:${note}`));
    return new SourceText(source.path, text);
  }
}

const isMissing = (err: unknown): boolean => (err as NodeJS.ErrnoException).code === 'ENOENT';

/** Files that make one model, and what they start from. */
export interface ProjectFiles {
  readonly files: readonly { readonly source: SourceText; readonly path: string }[];
  /** absolute; relative paths in the files start here */
  readonly dir: string;
  readonly env: Environment;
}

/** Variables of files, then of the command's own environment, which wins. */
export function environmentWith(files: readonly InputFile[], env: Environment): Environment {
  const values: Record<string, string> = {};
  for (const { path, text } of files) {
    for (const [key, value] of parseDotenv(text, path, { ...values, ...env })) values[key] = value;
  }
  return { ...values, ...env };
}

/** Absolute paths as the user would write them, beside the file that was named. */
export function shownPaths(dir: string, named: string): (path: string) => string {
  const start = named === '' || named.startsWith('<') ? '.' : dirname(named);
  return (path) => {
    if (!isAbsolute(path)) return path;
    const inside = relative(dir, path);
    return inside.startsWith('..') ? path : join(start, inside);
  };
}
