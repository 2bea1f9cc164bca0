/**
 * Answers of two engines in a form in which they can be compared: without what no two runs have in common
 * (ids, times, versions, addresses), and objects by name instead of by id. Pure.
 */

export type Names = ReadonlyMap<string, string>;

/** Fields that are another value in every run. */
const PASSING = new Set([
  'ID',
  'Id',
  'CreatedAt',
  'UpdatedAt',
  'Created',
  'Version',
  'Timestamp',
  'ContainerStatus',
  'StartedAt',
  'CompletedAt',
  'LastExecution',
  'VirtualIPs',
  'NetworksAttachments',
  'Peers',
]);
const ID = /\b[0-9a-z]{25}\b/g;
const GRPC_PREFIX = /^rpc error: code = \w+ desc = /;

/** @param names of objects by their ids */
export function normalForm(value: unknown, names: Names): unknown {
  if (Array.isArray(value)) return value.map((item) => normalForm(item, names));
  if (typeof value === 'string') return textForm(value, names);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([key]) => !PASSING.has(key))
    .map(([key, inner]) => [key, normalForm(inner, names)] as const)
    .filter(([, inner]) => !isNothing(inner));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The one engine leaves an empty field out, the other sends it: clients read both alike. */
function isNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function textForm(text: string, names: Names): string {
  return text.replace(GRPC_PREFIX, '').replace(ID, (id) => names.get(id) ?? '<id>');
}

/** `path -> scalar`, in the order of the paths' first appearance. */
export function flatten(value: unknown, path = '', into = new Map<string, unknown>()) {
  if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      flatten(inner, path === '' ? key : `${path}/${key}`, into);
    }
    return into;
  }
  into.set(path, value);
  return into;
}
