/**
 * The official schemas of stack files, as an oracle: the Compose specification and the versions 3.x
 * of `docker stack deploy`. They are no part of the repository and lie beside it, or are absent.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Schema = Readonly<Record<string, unknown>>;

const FOLDER = fileURLToPath(new URL('../../../shared/reference/compose-schema', import.meta.url));

/** By name, `compose-spec` and `3.0` to `3.13`; empty when the schemas are not there. */
export function officialSchemas(): ReadonlyMap<string, Schema> {
  if (!existsSync(FOLDER)) return new Map();
  return new Map(
    readdirSync(FOLDER)
      .filter((name) => name.endsWith('.json'))
      .map((name) => {
        const schema = JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as Schema;
        return [name.replace(/^config_schema_v|\.json$/g, ''), schema];
      }),
  );
}

/** Follows a reference within the schema. */
export function resolveSchema(schema: Schema, root: Schema): Schema {
  const ref = schema['$ref'];
  if (typeof ref !== 'string') return schema;
  let found: unknown = root;
  for (const part of ref.replace(/^#\//, '').split('/')) {
    found = (found as Record<string, unknown>)[part];
  }
  return resolveSchema(found as Schema, root);
}
