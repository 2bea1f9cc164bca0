/** `{ [name]: value }` unless the value says nothing: such fields are left out of specs. */
export function some(name: string, value: unknown): object {
  if (value === undefined || value === '' || value === false || value === 0) return {};
  if (Array.isArray(value) && value.length === 0) return {};
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) return {};
  return { [name]: value };
}
