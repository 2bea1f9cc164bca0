/**
 * A list of objects as `ls` and `ps` print it: a table, ids only, JSON lines, or the user's template.
 * Knows rows of named texts; not where they come from.
 */
import { renderTable } from './table.ts';
import { parseTemplate } from './template.ts';

/** What `--format` and `--json` show of one object: field name -> text. */
export type Row = Readonly<Record<string, string>>;

export interface Listing {
  /** heading and field of each column, in order */
  readonly columns: readonly (readonly [heading: string, field: string])[];
  readonly rows: readonly Row[];
  /** headings of further fields, for `table TEMPLATE` */
  readonly headings?: Readonly<Record<string, string>>;
  /** printed by `-q` */
  readonly quietField: string;
}

export interface ListingOptions {
  readonly quiet?: boolean | undefined;
  /** `table`, `table TEMPLATE`, `json` or a template; absent = table */
  readonly format?: string | undefined;
}

/** Ends with a newline unless there is nothing to print. Throws `invalid-argument` for a bad format. */
export function renderListing(listing: Listing, options: ListingOptions): string {
  const { rows, quietField } = listing;
  const format = options.format ?? '';
  if (options.quiet && (format === '' || format === 'table')) {
    return rows.map((row) => `${row[quietField] ?? ''}\n`).join('');
  }
  if (format === '' || format === 'table') return renderColumns(listing);
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const table = /^table\s+([\s\S]*)$/.exec(format);
  if (!table) {
    const template = parseTemplate(format);
    return rows.map((row) => `${template.render(row)}\n`).join('');
  }
  const template = parseTemplate(table[1]!);
  const lines = [headingRow(listing), ...rows].map((row) => template.render(row).split('\t'));
  return renderTable(lines);
}

function renderColumns({ columns, rows }: Listing): string {
  return renderTable([
    columns.map(([heading]) => heading),
    ...rows.map((row) => columns.map(([, field]) => row[field] ?? '')),
  ]);
}

function headingRow({ columns, rows, headings = {} }: Listing): Row {
  const names = new Set([...Object.keys(rows[0] ?? {}), ...Object.keys(headings)]);
  const own = Object.fromEntries([...names].map((name) => [name, name.toUpperCase()]));
  return {
    ...own,
    ...Object.fromEntries(columns.map(([heading, field]) => [field, heading])),
    ...headings,
  };
}

/** The JSON array that `inspect` prints, or one template line per object. */
export function renderInspect(objects: readonly unknown[], format: string | undefined): string {
  if (format === undefined || format === '') return `${JSON.stringify(objects, null, 4)}\n`;
  if (format === 'json') return objects.map((object) => `${JSON.stringify(object)}\n`).join('');
  const template = parseTemplate(format, false);
  return objects.map((object) => `${template.render(object)}\n`).join('');
}
