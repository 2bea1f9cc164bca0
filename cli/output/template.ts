/** Go templates as Docker users write them in `--format`, with the functions that Docker adds. */
import { parseTemplate as parse, type Template } from '../../common/base/template.ts';
import { printed, type TemplateFunctions } from '../../common/base/template-functions.ts';

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const FORMAT_FUNCTIONS: TemplateFunctions = {
  json: (value) => JSON.stringify(value ?? null),
  upper: (value) => printed(value).toUpperCase(),
  lower: (value) => printed(value).toLowerCase(),
  title: (value) => printed(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  join: (items, by) => list(items).map(printed).join(printed(by)),
  split: (text, by) => printed(text).split(printed(by)),
  truncate: (text, length) => printed(text).slice(0, Number(length)),
  pad: (text, before, after) => padded(printed(text), Number(before), Number(after)),
};

/** Blanks on either side. */
const PAD_MAX = 1000;

/** An empty text stays empty. */
function padded(text: string, before: number, after: number): string {
  const blanks = (count: number): string => ' '.repeat(Math.min(PAD_MAX, Math.max(0, count || 0)));
  return text === '' ? '' : `${blanks(before)}${text}${blanks(after)}`;
}

const same = (text: unknown): unknown => text;

/** Over the names of columns, which stay as they are; pads keep their place. */
const HEADING_FUNCTIONS: TemplateFunctions = {
  ...FORMAT_FUNCTIONS,
  ...{ json: same, upper: same, lower: same, title: same, truncate: same, join: same, split: same },
};

/**
 * Throws `invalid-argument` for what is no template.
 * @param strict whether a field that the rendered value lacks is a mistake. API objects leave empty
 *   fields out, rows of a listing do not.
 */
export function parseTemplate(text: string, strict = true): Template {
  const missing = strict ? 'root' : 'none';
  return parse(unescapeText(text), { functions: FORMAT_FUNCTIONS, missing });
}

/** For the row of headings of a table. Throws like `parseTemplate`. */
export function parseHeadingTemplate(text: string): Template {
  return parse(unescapeText(text), { functions: HEADING_FUNCTIONS, missing: 'root' });
}

/** Shells pass `\t` and `\n` as they are typed; Docker takes them for the characters. */
function unescapeText(text: string): string {
  return text.replace(/\\t/g, '\t').replace(/\\n/g, '\n');
}
