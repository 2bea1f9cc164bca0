/**
 * Docker's own description of its API (Swagger 2), as an oracle: is an answer as the document of its version says? The documents
 * are no part of the repository and lie beside it, or in the folder that SKEP_ENGINE_API_DOCS names, or are absent.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { parse } from 'yaml';

type Json = Readonly<Record<string, unknown>>;

const FOLDER =
  process.env['SKEP_ENGINE_API_DOCS'] ??
  fileURLToPath(new URL('../../../shared/reference/engine-api', import.meta.url));
const FILE = /^v1\.(\d+)\.yaml$/;

/** Minor versions of which there is a document, oldest first; empty when they are not there. */
export const swaggerMinors: readonly number[] = existsSync(FOLDER)
  ? readdirSync(FOLDER)
      .flatMap((name) => FILE.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
  : [];

/** What is meant to answer 500, as in Docker: a version of before, what is too much or all given away, and who does not answer. */
const MEANT_FAILURE =
  /update out of sequence|exceed the limit of|all addresses of \S+ are in use|: no answer in \d+ ms/;

/** Of the text of an answer with status 500: any other says that something went wrong here. */
export function isMeantFailure(text: string): boolean {
  return MEANT_FAILURE.test(text);
}

/** Of an answer that is none. */
const SHOWN_CHARS = 200;
const ERROR: Json = { $ref: '#/definitions/ErrorResponse' };
/** Where Docker's documents do not say what Docker answers, and clients read the latter. */
const DOCUMENT_IS_WRONG: readonly RegExp[] = [
  /^POST \/(secrets|configs)\/create 201: data must have required property 'Id'$/, // it is `ID`
  /^POST \/exec\/{id}\/start does not answer 101/, // as of attach, to who asks for an upgrade
  /^GET \/exec\/{id}\/json 200: data\/ExitCode must be integer$/, // null until it has ended
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

  /** null = the document does not speak of such a request */
  statusComplaint(method: string, path: string, status: number): string | null {
    const found = this.#find(method, path);
    if (!found) return null;
    // Failures of kinds that the document does not name are there in Docker, too.
    if (status >= 400 || found.responses[status] !== undefined) return '';
    return unlessWrong(`${method} ${found.template} does not answer ${status}`);
  }

  /** null = the document does not speak of such an answer's body */
  complaint(method: string, path: string, status: number, body: unknown): string | null {
    const found = this.#find(method, path);
    const statusComplaint = this.statusComplaint(method, path, status);
    if (!found || statusComplaint !== '') return statusComplaint;
    const response = found.responses[status] as Json | undefined;
    const schema = (response ? response['schema'] : ERROR) as Json | undefined;
    if (!schema) return null;
    const key = `${method} ${found.template} ${status}`;
    const validate = this.#validators.get(key) ?? this.#ajv.compile(absolute(schema) as Json);
    this.#validators.set(key, validate);
    if (validate(body)) return '';
    return unlessWrong(`${key}: ${this.#ajv.errorsText(validate.errors)}`);
  }

  #find(method: string, path: string): { template: string; responses: Json } | null {
    const verb = method.toLowerCase();
    const paths = this.#document.paths as Readonly<Record<string, Json>>;
    const route = this.#routes.find(
      ({ template, pattern }) => pattern.test(path) && verb in paths[template]!,
    );
    if (!route) return null;
    const operation = paths[route.template]![verb] as Json;
    return { template: route.template, responses: operation['responses'] as Json };
  }
}

/** '' where Docker's document is. */
function unlessWrong(complaint: string): string {
  return DOCUMENT_IS_WRONG.some((pattern) => pattern.test(complaint)) ? '' : complaint;
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
  return byDocuments(minor, (document) => document.complaint(method, path, status, body));
}

/** As `swaggerComplaint`, of the status alone, for answers of every kind. */
export function swaggerStatusComplaint(
  minor: number,
  method: string,
  path: string,
  status: number,
): string {
  return byDocuments(minor, (document) => document.statusComplaint(method, path, status));
}

function byDocuments(minor: number, ask: (document: SwaggerDocument) => string | null): string {
  const older = swaggerMinors.filter((it) => it <= minor).at(-1);
  const newer = swaggerMinors.find((it) => it >= minor);
  const complaints = [older, newer]
    .filter((it) => it !== undefined)
    .map((it) => ask(documentOf(it)) ?? '');
  return complaints.includes('') ? '' : (complaints[0] ?? '');
}

/** As `swaggerComplaint`, of an answer as it was sent: that it is no JSON is wrong, too. */
export function complaintOfText(
  minor: number,
  method: string,
  path: string,
  status: number,
  text: string,
): string {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return `${method} ${path} ${status}: its answer is no JSON: ${text.slice(0, SHOWN_CHARS)}`;
  }
  return swaggerComplaint(minor, method, path, status, body);
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
