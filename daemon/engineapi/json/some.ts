/** Fields that Docker leaves out. */

/** `{ [name]: value }` unless the value says nothing: Docker leaves such fields out. */
export function some(name: string, value: unknown): object {
  if (value === null || value === undefined || value === '' || value === 0 || value === false) {
    return {};
  }
  if (Array.isArray(value) && value.length === 0) return {};
  if (typeof value === 'object' && Object.keys(value).length === 0) return {};
  return { [name]: value };
}
