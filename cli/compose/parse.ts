/** The text of a stack file -> its YAML document, or what is wrong with its form, and where. */
import { type Document, parseDocument, type YAMLParseError } from 'yaml';
import { type Problem, type SourceText, StackFileError } from './problems.ts';

/** Throws `StackFileError` for what is no YAML, and for blanks that only look like indentation. */
export function parseStackText(source: SourceText): Document {
  const blanks = oddIndentation(source);
  if (blanks.length > 0) throw new StackFileError(source, blanks);
  const document = parseDocument(source.text, { prettyErrors: false, merge: true });
  const problems = document.errors.map((err) => problemOf(source, err));
  if (problems.length > 0) throw new StackFileError(source, problems);
  return document;
}

const ODD_BLANKS: Readonly<Record<string, string>> = {
  '\t': 'tab',
  '\u00a0': 'no-break space (U+00A0)',
  '\u2003': 'em space (U+2003)',
  '\u3000': 'ideographic space (U+3000)',
};
const INDENTATION = /^[ \t\u00a0\u2003\u3000]*/;

/**
 * Indentation of anything but spaces. Block texts (`key: |`) may hold tabs after their own spaces,
 * so only the first odd blank of lines outside of them counts.
 */
function oddIndentation(source: SourceText): Problem[] {
  const problems: Problem[] = [];
  let blockIndent: number | null = null;
  for (let line = 1; line <= source.lineCount; line++) {
    const text = source.line(line);
    const indent = INDENTATION.exec(text)![0];
    const rest = text.slice(indent.length);
    if (rest === '') continue;
    const spaces = /^ */.exec(text)![0].length;
    if (blockIndent !== null && spaces > blockIndent) continue;
    blockIndent = /(?:^|[\s:-])[|>][-+\d]*\s*(?:#.*)?$/.test(rest) ? spaces : null;
    const at = [...indent].findIndex((char) => char in ODD_BLANKS);
    if (at < 0 || rest.startsWith('#')) continue;
    const name = ODD_BLANKS[indent[at]!];
    problems.push({
      line,
      column: at + 1,
      length: indent.length - at,
      message: `${name} used as indentation: YAML takes spaces only`,
    });
  }
  return problems;
}

const WORDS: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'this key stands here twice',
  TAB_AS_INDENT: 'tab used as indentation: YAML takes spaces only',
  BAD_INDENT: 'this line is not indented like the ones it belongs to',
};

function problemOf(source: SourceText, err: YAMLParseError): Problem {
  const [start, end] = err.pos;
  const { line, column } = source.position(Math.min(start, source.text.length));
  const words = WORDS[err.code];
  // The parser points at the first character of a key only.
  const word = /^[\w.-]+/.exec(source.text.slice(start))?.[0].length ?? 1;
  return { line, column, length: Math.max(end - start, word), message: words ?? err.message };
}
