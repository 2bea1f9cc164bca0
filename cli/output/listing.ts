/**
 * A list of objects as `ls` and `ps` print it: a table, ids only, JSON lines, or the user's template.
 * Knows rows of named texts; not where they come from.
 */
import { labelHeading } from './labels.ts';
import { renderTable } from './table.ts';
import { parseHeadingTemplate, parseTemplate } from './template.ts';

/** What `--format` shows of one object: field name -> text. */
export type Row = Readonly<Record<string, string>>;

/** Texts, what JSON has beside them, and what a template calls with a word. */
type Cell = string | boolean | null | ((word: string) => string);

export interface Listing {
  /** heading and field of each column, in order */
  readonly columns: readonly (readonly [heading: string, field: string])[];
  readonly rows: readonly Readonly<Record<string, Cell>>[];
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
    return rows.map((row) => `${textOf(row[quietField])}\n`).join('');
  }
  if (format === '' || format === 'table') return renderColumns(listing);
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const table = /^table\s+([\s\S]*)$/.exec(format);
  if (!table) {
    const template = parseTemplate(format);
    return rows.map((row) => `${template.render(row)}\n`).join('');
  }
  const headings = parseHeadingTemplate(table[1]!);
  const template = parseTemplate(table[1]!);
  const lines = [
    headings.render(headingRow(listing, headings.fields)),
    ...rows.map((row) => template.render(row)),
  ];
  return renderTable(lines.map((line) => line.split('\t')));
}

function renderColumns({ columns, rows }: Listing): string {
  return renderTable([
    columns.map(([heading]) => heading),
    ...rows.map((row) => columns.map(([, field]) => textOf(row[field]))),
  ]);
}

const textOf = (cell: Cell | undefined): string => String(cell ?? '');

/** `CREATED AT` of `CreatedAt`. */
const headed = (name: string): string => name.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase();

/** @param asked names that have a heading of their own when no row says which fields there are */
function headingRow(
  { columns, rows, headings = {} }: Listing,
  asked: ReadonlySet<string>,
): Readonly<Record<string, Cell>> {
  const names = rows[0] ? Object.keys(rows[0]) : asked;
  return {
    ...Object.fromEntries([...names].map((name) => [name, headed(name)])),
    ...Object.fromEntries(columns.map(([heading, field]) => [field, heading])),
    ...headings,
    Label: labelHeading,
  };
}

/** The JSON array that `inspect` prints, or one template line per object. */
export function renderInspect(objects: readonly unknown[], format: string | undefined): string {
  if (format === undefined || format === '') return `${JSON.stringify(objects, null, 4)}\n`;
  if (format === 'json') return objects.map((object) => `${JSON.stringify(object)}\n`).join('');
  const template = parseTemplate(format, false);
  return objects.map((object) => `${template.render(object)}\n`).join('');
}
