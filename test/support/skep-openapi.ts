/** The OpenAPI document of skep's own routes, and whether an answer is as it says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface Operation {
  readonly responses: Readonly<Record<string, object>>;
}

const ID = 'skep.yaml';
export const skepOpenApi = parse(
  readFileSync(join(import.meta.dirname, '../../docs/api/skep.yaml'), 'utf8'),
) as OpenApi;
const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addSchema({ ...skepOpenApi, $id: ID });

const pointerPart = (part: string): string => part.replaceAll('~', '~0').replaceAll('/', '~1');

/** What is wrong with the JSON of an answer by the document; '' = nothing. */
export function complaintOf(path: string, method: string, status: number, value: unknown): string {
  const operation = skepOpenApi.paths[path]?.[method];
  const response = operation?.responses[String(status)];
  if (!response) return `${method} ${path} does not answer ${status}`;
  const [place, content] =
    '$ref' in response
      ? [String(response.$ref).slice(1), resolved(String(response.$ref))]
      : [`/paths/${pointerPart(path)}/${method}/responses/${status}`, response];
  const [type] = Object.keys((content as { content: object }).content);
  const $ref = encodeURI(`${ID}#${place}/content/${pointerPart(type!)}/schema`);
  const validate = ajv.compile({ $ref });
  return validate(value) ? '' : ajv.errorsText(validate.errors);
}

function resolved(ref: string): unknown {
  return ref
    .slice(2)
    .split('/')
    .reduce((at, part) => (at as Record<string, unknown>)[part], skepOpenApi as unknown);
}
