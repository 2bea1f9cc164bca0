/**
 * Contexts: names for daemons, kept in files as the docker command keeps them, in a folder of our own. Docker's own
 * contexts are read as well, and never written.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describeError, SkepError } from '../../common/base/errors.ts';

/** The daemon that is used when no context is chosen: of `SKEP_HOST`, `DOCKER_HOST`, or of this host. */
export const DEFAULT_CONTEXT = 'default';
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;
const TLS_FILES = ['ca.pem', 'cert.pem', 'key.pem'] as const;
export type TlsFileName = (typeof TLS_FILES)[number];

type Environment = Readonly<Record<string, string | undefined>>;

export interface EndpointMeta {
  readonly Host?: string;
  readonly SkipTLSVerify?: boolean;
}

/** What `meta.json` says; other tools' keys are kept. */
export interface ContextMeta {
  readonly Name: string;
  readonly Metadata: { readonly Description?: string };
  readonly Endpoints: { readonly docker?: EndpointMeta };
}

export interface StoredContext {
  readonly name: string;
  readonly meta: ContextMeta;
  /** whose it is: docker's cannot be changed here */
  readonly owner: 'skep' | 'docker';
  readonly metadataPath: string;
  readonly tlsPath: string;
  readonly tlsFiles: readonly TlsFileName[];
}

export type TlsMaterial = Readonly<Partial<Record<TlsFileName, string>>>;

/** What `default` means. */
export function defaultHost(env: Environment): string {
  return env['SKEP_HOST'] || env['DOCKER_HOST'] || 'unix:///run/skep/skep.sock';
}

/** The context that is in force: the nearest word counts, and one of ours is nearer than one of docker's. */
export function contextInForce(env: Environment): string {
  if (env['SKEP_HOST']) return DEFAULT_CONTEXT;
  if (env['SKEP_CONTEXT']) return env['SKEP_CONTEXT'];
  if (env['DOCKER_HOST']) return DEFAULT_CONTEXT;
  return env['DOCKER_CONTEXT'] || new ContextStore(env).current() || DEFAULT_CONTEXT;
}

export class ContextStore {
  readonly #own: string;
  readonly #docker: string;

  /** `$SKEP_CONFIG`, else `$HOME/.skep`; docker's in `$DOCKER_CONFIG`, else `$HOME/.docker`. */
  constructor(env: Environment) {
    const home = env['HOME'] || '/root';
    this.#own = env['SKEP_CONFIG'] || join(home, '.skep');
    this.#docker = env['DOCKER_CONFIG'] || join(home, '.docker');
  }

  /**
   * By name, ours before docker's of the same name. Those that cannot be read are left out.
   * @param tell hears why
   */
  list(tell: (words: string) => void = () => {}): readonly StoredContext[] {
    const found = new Map<string, StoredContext>();
    for (const owner of ['docker', 'skep'] as const) {
      const metas = join(this.#folderOf(owner), 'contexts', 'meta');
      for (const id of existsSync(metas) ? readdirSync(metas) : []) {
        try {
          const context = this.#read(owner, id);
          if (context) found.set(context.name, context);
        } catch (err) {
          tell(describeError(err));
        }
      }
    }
    return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): StoredContext | null {
    return this.#read('skep', idOf(name)) ?? this.#read('docker', idOf(name));
  }

  /** Throws `not-found`. */
  require(name: string): StoredContext {
    const found = this.get(name);
    if (found) return found;
    throw new SkepError('not-found', `context "${name}": context not found`);
  }

  /** Whole, or not at all. Throws `invalid-argument` for a name that cannot be. */
  write(meta: ContextMeta, tls: TlsMaterial): void {
    checkName(meta.Name);
    const { metadataPath, tlsPath } = this.#paths('skep', idOf(meta.Name));
    const files = TLS_FILES.flatMap((name) => {
      const text = tls[name];
      return text === undefined ? [] : [[name, text] as const];
    });
    // All is written beside what is there before anything takes its place.
    const [folder, beside, before] = ['docker', 'docker.new', 'docker.old'].map((name) =>
      join(tlsPath, name),
    ) as [string, string, string];
    const metaPath = join(metadataPath, 'meta.json');
    for (const path of [beside, before]) rmSync(path, { recursive: true, force: true });
    try {
      mkdirSync(beside, { recursive: true, mode: 0o700 });
      for (const [name, text] of files) writeFileSync(join(beside, name), text, { mode: 0o600 });
      mkdirSync(metadataPath, { recursive: true, mode: 0o755 });
      writeFileSync(`${metaPath}.new`, JSON.stringify(meta), { mode: 0o644 });
      if (existsSync(folder)) renameSync(folder, before);
      renameSync(beside, folder);
      renameSync(`${metaPath}.new`, metaPath);
    } catch (err) {
      rmSync(beside, { recursive: true, force: true });
      rmSync(`${metaPath}.new`, { recursive: true, force: true });
      if (existsSync(before)) {
        rmSync(folder, { recursive: true, force: true });
        renameSync(before, folder);
      }
      throw err;
    }
    rmSync(before, { recursive: true, force: true });
    if (files.length === 0) rmSync(folder, { recursive: true });
    if (readdirSync(tlsPath).length === 0) rmSync(tlsPath, { recursive: true });
  }

  /** Throws for one of docker's. */
  remove(name: string): void {
    const { metadataPath, tlsPath } = this.requireOwn(name);
    for (const path of [tlsPath, metadataPath]) rmSync(path, { recursive: true, force: true });
  }

  /** One that can be changed. */
  requireOwn(name: string): StoredContext {
    const found = this.require(name);
    if (found.owner === 'skep') return found;
    throw new SkepError('failed-precondition', `context "${name}" is docker's: use docker context`);
  }

  tlsMaterial({ tlsPath, tlsFiles }: StoredContext): TlsMaterial {
    return Object.fromEntries(
      tlsFiles.map((name) => [name, readFileSync(join(tlsPath, 'docker', name), 'utf8')]),
    );
  }

  /** That was chosen by `use`; null = none was. */
  current(): string | null {
    const text = readIfThere(join(this.#own, 'config.json'));
    if (text === null || text.trim() === '') return null;
    const { currentContext } = this.#parsed(text) as { currentContext?: string };
    return currentContext || null;
  }

  /** @param name null = none */
  setCurrent(name: string | null): void {
    const path = join(this.#own, 'config.json');
    const before = readIfThere(path);
    const { currentContext: _, ...kept } = this.#parsed(before || '{}') as Record<string, unknown>;
    const config = { ...kept, ...(name !== null && { currentContext: name }) };
    mkdirSync(this.#own, { recursive: true, mode: 0o700 });
    writeWhole(path, `${JSON.stringify(config, null, '\t')}\n`, 0o600);
  }

  #parsed(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw new SkepError('invalid-argument', `read ${join(this.#own, 'config.json')}: not JSON`);
    }
  }

  #folderOf(owner: StoredContext['owner']): string {
    return owner === 'skep' ? this.#own : this.#docker;
  }

  #paths(owner: StoredContext['owner'], id: string) {
    const contexts = join(this.#folderOf(owner), 'contexts');
    return { metadataPath: join(contexts, 'meta', id), tlsPath: join(contexts, 'tls', id) };
  }

  /** null for what is none. */
  #read(owner: StoredContext['owner'], id: string): StoredContext | null {
    const paths = this.#paths(owner, id);
    const path = join(paths.metadataPath, 'meta.json');
    const text = readIfThere(path);
    if (text === null) return null;
    const meta = metaOf(text, path);
    const tlsFiles = TLS_FILES.filter((name) => existsSync(join(paths.tlsPath, 'docker', name)));
    return { name: meta.Name, meta, owner, ...paths, tlsFiles };
  }
}

/** Throws `invalid-argument`. @param path for the words */
export function metaOf(text: string, path: string): ContextMeta {
  try {
    const json = JSON.parse(text) as Partial<ContextMeta>;
    if (typeof json.Name !== 'string') throw new TypeError('no name');
    return {
      ...json,
      Name: json.Name,
      Metadata: json.Metadata ?? {},
      Endpoints: json.Endpoints ?? {},
    };
  } catch (cause) {
    throw new SkepError('invalid-argument', `read ${path}: not the description of a context`, {
      cause,
    });
  }
}

/** Throws `invalid-argument`. */
export function checkName(name: string): void {
  if (name === DEFAULT_CONTEXT) {
    throw new SkepError('invalid-argument', `"${DEFAULT_CONTEXT}" is a reserved context name`);
  }
  if (!NAME.test(name)) {
    throw new SkepError(
      'invalid-argument',
      `context name "${name}" is invalid: expected ${NAME.source}`,
    );
  }
}

export const isTlsFileName = (name: string): name is TlsFileName =>
  (TLS_FILES as readonly string[]).includes(name);

/** As docker names the folders. */
function idOf(name: string): string {
  const { createHash } = process.getBuiltinModule('node:crypto'); // who names no context starts sooner without it
  return createHash('sha256').update(name).digest('hex');
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    if (['ENOENT', 'ENOTDIR'].includes((err as NodeJS.ErrnoException).code ?? '')) return null;
    throw err;
  }
}

function writeWhole(path: string, text: string, mode: number): void {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}
