/** Go templates as Docker users write them in `--format`, with the functions that Docker adds. */
import {
  parseTemplate as parse,
  printed,
  type Template,
  type TemplateFunctions,
} from '../../common/base/template.ts';

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const FORMAT_FUNCTIONS: TemplateFunctions = {
  json: (value) => JSON.stringify(value ?? null),
  upper: (value) => printed(value).toUpperCase(),
  lower: (value) => printed(value).toLowerCase(),
  title: (value) => printed(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  join: (items, by) => list(items).map(printed).join(printed(by)),
  split: (text, by) => printed(text).split(printed(by)),
  truncate: (text, length) => printed(text).slice(0, Number(length)),
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

/** Shells pass `\t` and `\n` as they are typed; Docker takes them for the characters. */
function unescapeText(text: string): string {
  return text.replace(/\\t/g, '\t').replace(/\\n/g, '\n');
}
