/**
 * Docker's own description of its API (Swagger 2), as an oracle: is an answer as the document of its version says? The documents
 * are no part of the repository and lie beside it, or are absent.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { parse } from 'yaml';

type Json = Readonly<Record<string, unknown>>;

const FOLDER = fileURLToPath(new URL('../../../shared/reference/engine-api', import.meta.url));
const FILE = /^v1\.(\d+)\.yaml$/;

/** Minor versions of which there is a document, oldest first; empty when they are not there. */
export const swaggerMinors: readonly number[] = existsSync(FOLDER)
  ? readdirSync(FOLDER)
      .flatMap((name) => FILE.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
  : [];

const ERROR: Json = { $ref: '#/definitions/ErrorResponse' };
/** Where Docker's documents do not say what Docker answers, and clients read the latter. */
const DOCUMENT_IS_WRONG: readonly RegExp[] = [
  /^POST \/(secrets|configs)\/create 201: data must have required property 'Id'$/, // it is `ID`
  /UpdateStatus\/State must be equal to one of the allowed values/, // rollbacks have states of their own
];
/** Docker answers null here, which its document does not say. */
const NULL_IN_DOCKER: ReadonlySet<string> = new Set(['MemorySwappiness']);

interface Route {
  readonly template: string;
  readonly pattern: RegExp;
}

class SwaggerDocument {
  readonly #document: {
    readonly paths: Json;
    readonly definitions: Json;
    readonly responses?: Json;
  };
  readonly #routes: readonly Route[];
  readonly #ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  readonly #validators = new Map<string, ReturnType<Ajv['compile']>>();

  constructor(minor: number) {
    const text = readFileSync(join(FOLDER, `v1.${minor}.yaml`), 'utf8');
    this.#document = withNull(parse(text, { maxAliasCount: -1 })) as never;
    this.#routes = Object.keys(this.#document.paths)
      .map((template) => ({ template, pattern: patternOf(template) }))
      // What is named goes before what has a parameter there.
      .sort((a, b) => a.template.split('{').length - b.template.split('{').length);
    this.#ajv.addSchema({ $id: 'docker', definitions: this.#document.definitions });
  }

  /** null = the document does not speak of such an answer's body */
  complaint(method: string, path: string, status: number, body: unknown): string | null {
    const route = this.#routes.find(
      ({ template, pattern }) =>
        pattern.test(path) && method.toLowerCase() in (this.#document.paths[template] as Json),
    );
    if (!route) return null;
    const operation = (this.#document.paths[route.template] as Json)[method.toLowerCase()] as Json;
    const response = (operation['responses'] as Json)[status] as Json | undefined;
    if (!response && status < 400) return `${method} ${route.template} does not answer ${status}`;
    // A failure of a kind that the document does not name is still told as every other.
    const schema = (response ? response['schema'] : ERROR) as Json | undefined;
    if (!schema) return null;
    const key = `${method} ${route.template} ${status}`;
    const validate = this.#validators.get(key) ?? this.#ajv.compile(absolute(schema) as Json);
    this.#validators.set(key, validate);
    if (validate(body)) return '';
    const complaint = `${key}: ${this.#ajv.errorsText(validate.errors)}`;
    return DOCUMENT_IS_WRONG.some((pattern) => pattern.test(complaint)) ? '' : complaint;
  }
}

const documents = new Map<number, SwaggerDocument>();

/**
 * What is wrong with an answer's JSON by the document of its version; where that is not there, by both its neighbours, since
 * either may hold already. '' when nothing is, or no document speaks of it.
 *
 * @param path without version and query
 */
export function swaggerComplaint(
  minor: number,
  method: string,
  path: string,
  status: number,
  body: unknown,
): string {
  const older = swaggerMinors.filter((it) => it <= minor).at(-1);
  const newer = swaggerMinors.find((it) => it >= minor);
  const complaints = [older, newer]
    .filter((it) => it !== undefined)
    .map((it) => documentOf(it).complaint(method, path, status, body) ?? '');
  return complaints.includes('') ? '' : (complaints[0] ?? '');
}

function documentOf(minor: number): SwaggerDocument {
  const document = documents.get(minor) ?? new SwaggerDocument(minor);
  documents.set(minor, document);
  return document;
}

function patternOf(template: string): RegExp {
  const source = template
    .split(/\{[^}]+\}/)
    .map((part) => part.replace(/[.*+?^$()|[\]\\]/g, '\\$&'))
    .join(
      template.startsWith('/images/') || template.startsWith('/distribution/') ? '.+' : '[^/]+',
    );
  return new RegExp(`^${source}$`);
}

/** Swagger 2 has no null: go-swagger's `x-nullable` says it. Go leaves maps and lists that are nil as null as well. */
function withNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNull);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(
    ([key]) => !['example', 'description'].includes(key),
  );
  const copy = Object.fromEntries(
    entries.map(([key, it]) => [key, withNull(NULL_IN_DOCKER.has(key) ? nullable(it) : it)]),
  ) as Record<string, unknown>;
  const { type } = copy;
  if (typeof type !== 'string' || typeof copy['in'] === 'string') return copy;
  if (copy['x-nullable'] === true || type === 'array' || type === 'object') {
    copy['type'] = [type, 'null'];
    if (Array.isArray(copy['enum'])) copy['enum'] = [...copy['enum'], null];
  }
  return copy;
}

function nullable(schema: unknown): unknown {
  return { ...(schema as Json), 'x-nullable': true };
}

/** References from the document's own root. */
function absolute(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(absolute);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, it]) => [
      key,
      key === '$ref' && typeof it === 'string' ? it.replace(/^#/, 'docker#') : absolute(it),
    ]),
  );
}
