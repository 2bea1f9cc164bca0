/** `.env` files of the Compose format: quotes, comments, `export`, variables in values. */
import type { Environment } from './files.ts';
import { interpolate } from './interpolate.ts';
import { problemAt, SourceText, StackFileError } from './problems.ts';

const HEAD = /[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*(?:[=:][ \t]*)?/y;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/**
 * `KEY=value`, `KEY='as it is'`, `KEY="with \n and $VARS"`; quoted values may go over several lines;
 * `#` after a blank begins a comment. Variables are those of `env`, then of the lines above. A key
 * alone takes the value of `env`, or is dropped. Throws `StackFileError` with the place.
 */
export function parseDotenv(text: string, path: string, env: Environment): [string, string][] {
  const found = new Map<string, string>();
  const source = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  let at = 0;
  const fail = (start: number, end: number, rule: string): never => {
    const place = { source: new SourceText(path, source), start, end };
    throw new StackFileError([problemAt(place, rule)]);
  };
  const expand = (value: string, start: number, end: number): string => {
    try {
      return interpolate(value, { ...Object.fromEntries(found), ...env });
    } catch (err) {
      return fail(start, end, (err as Error).message);
    }
  };
  while (at < source.length) {
    const lineEnd = endOfLine(source, at);
    const line = source.slice(at, lineEnd);
    if (/^\s*(?:#.*)?$/.test(line)) {
      at = lineEnd + 1;
      continue;
    }
    HEAD.lastIndex = at;
    const head = HEAD.exec(source);
    if (!head) {
      const first = at + line.search(/\S/);
      const rule = `'${line.trim()}' is no variable: expected KEY=VALUE`;
      return fail(first, first + line.trim().length, rule);
    }
    const key = head[1]!;
    const hasValue = /[=:][ \t]*$/.test(head[0]);
    const start = at + head[0].length;
    if (!hasValue && source.slice(start, lineEnd).trim() !== '') {
      return fail(start, start + 1, `variable '${key}' is not followed by "="`);
    }
    const quote = source[start];
    if (!hasValue) {
      const value = env[key];
      if (value !== undefined) found.set(key, value);
      at = lineEnd + 1;
    } else if (quote === '"' || quote === "'") {
      const end = closingQuote(source, start);
      if (end < 0) return fail(start, lineEnd, `the value of '${key}' has no closing ${quote}`);
      const inner = source.slice(start + 1, end);
      found.set(key, quote === "'" ? inner : expand(unescapeQuoted(inner), start, end + 1));
      at = endOfLine(source, end) + 1;
    } else {
      const raw = source
        .slice(start, lineEnd)
        .replace(/(^|\s)#.*$/, '')
        .trim();
      found.set(key, expand(raw, start, start + raw.length));
      at = lineEnd + 1;
    }
  }
  return [...found];
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

/** Of the quote at `start`; -1 for none. A backslash keeps the next character in double quotes. */
function closingQuote(text: string, start: number): number {
  const quote = text[start]!;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\' && quote === '"') at++;
    else if (text[at] === quote) return at;
  }
  return -1;
}

function unescapeQuoted(text: string): string {
  return text.replace(/\\([nrt"\\$])/g, (_, char: string) => {
    if (char === '$') return '$$';
    return ESCAPES[char] ?? char;
  });
}
