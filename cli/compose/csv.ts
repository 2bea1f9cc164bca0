/** `key=value,key=value` as `--mount`, `--publish` and `--network` take it. */
import { SkepError } from '../../common/base/errors.ts';

export interface CsvField {
  /** lower case */
  readonly key: string;
  /** null = the key alone */
  readonly value: string | null;
}

/** Fields may be quoted: `a=b,"c=d,e"`. Throws `invalid-argument`. */
export function parseCsv(text: string): CsvField[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (const char of text) {
    if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      fields.push(field);
      field = '';
    } else field += char;
  }
  if (quoted)
    throw new SkepError('invalid-argument', `invalid value '${text}': a quote is not closed`);
  fields.push(field);
  return fields.map((item) => {
    const at = item.indexOf('=');
    const key = (at < 0 ? item : item.slice(0, at)).trim().toLowerCase();
    if (key === '' || key !== (at < 0 ? item : item.slice(0, at)).toLowerCase()) {
      throw new SkepError('invalid-argument', `invalid field '${item}' in '${text}'`);
    }
    return { key, value: at < 0 ? null : item.slice(at + 1) };
  });
}
