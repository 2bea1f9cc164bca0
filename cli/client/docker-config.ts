/**
 * Credentials for registries where the docker command keeps them: `config.json` with plain entries,
 * and credential helpers, which are programs of their own. What is set up for docker holds for skep.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { RegistryCredentials } from '../../common/model/registry-auth.ts';

type Environment = Readonly<Record<string, string | undefined>>;

interface StoredAuth {
  readonly auth?: string;
  readonly identitytoken?: string;
}

/** The keys that concern us; all others are kept as they are. */
interface ConfigFile {
  readonly auths?: Readonly<Record<string, StoredAuth>>;
  /** helper of each registry */
  readonly credHelpers?: Readonly<Record<string, string>>;
  /** helper of the others */
  readonly credsStore?: string;
}

/** Where docker keeps what belongs to its hub. */
const HUB_KEY = 'https://index.docker.io/v1/';
/** What helpers give as the name of somebody who is known by a token. */
const TOKEN_USER = '<token>';
const HELPER_NAME = /^[A-Za-z0-9._-]+$/;

export class DockerConfig {
  readonly #env: Environment;
  readonly #path: string;

  /** `$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`. */
  constructor(env: Environment) {
    this.#env = env;
    this.#path = join(
      env['DOCKER_CONFIG'] || join(env['HOME'] || '/root', '.docker'),
      'config.json',
    );
  }

  get path(): string {
    return this.#path;
  }

  /** null = nobody is logged in there. @param domain as in image names */
  async get(domain: string): Promise<RegistryCredentials | null> {
    const config = await this.#read();
    const key = keyOf(domain);
    const helper = helperOf(config, key);
    if (helper !== null) return this.#fromHelper(helper, key);
    const stored =
      config.auths?.[key] ??
      Object.entries(config.auths ?? {}).find(([name]) => hostOf(name) === hostOf(key))?.[1];
    return stored ? credentialsOf(stored) : null;
  }

  /** True when it went to a helper; false when it lies in the file as it is. */
  async set(
    domain: string,
    { username, password, identityToken }: RegistryCredentials,
  ): Promise<boolean> {
    const config = await this.#read();
    const key = keyOf(domain);
    const helper = helperOf(config, key);
    if (helper !== null) {
      const user = identityToken ? TOKEN_USER : username;
      const secret = { ServerURL: key, Username: user, Secret: identityToken || password };
      await this.#run(helper, 'store', JSON.stringify(secret));
      await this.#write({ ...config, auths: { ...config.auths, [key]: {} } });
      return true;
    }
    const pair = identityToken ? `${username}:` : `${username}:${password}`;
    const auth: StoredAuth = {
      auth: Buffer.from(pair).toString('base64'),
      ...(identityToken && { identitytoken: identityToken }),
    };
    await this.#write({ ...config, auths: { ...config.auths, [key]: auth } });
    return false;
  }

  /** False when nobody was logged in there. */
  async remove(domain: string): Promise<boolean> {
    const config = await this.#read();
    const key = keyOf(domain);
    const names = Object.keys(config.auths ?? {}).filter((name) => hostOf(name) === hostOf(key));
    if (names.length === 0) return false;
    const helper = helperOf(config, key);
    if (helper !== null) await this.#run(helper, 'erase', key);
    const kept = Object.entries(config.auths ?? {}).filter(([name]) => !names.includes(name));
    await this.#write({ ...config, auths: Object.fromEntries(kept) });
    return true;
  }

  async #read(): Promise<ConfigFile> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return {};
      throw err;
    }
    if (text.trim() === '') return {};
    try {
      return JSON.parse(text) as ConfigFile;
    } catch {
      // The parser's words are not passed on: they may quote a password.
      throw new SkepError('invalid-argument', `read ${this.#path}: not JSON`);
    }
  }

  async #write(config: ConfigFile): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const temporary = `${this.#path}.skep`;
    await writeFile(temporary, `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o600 });
    await rename(temporary, this.#path);
  }

  async #fromHelper(helper: string, key: string): Promise<RegistryCredentials | null> {
    const output = await this.#run(helper, 'get', key);
    if (output === null) return null;
    const { Username = '', Secret = '' } = JSON.parse(output) as {
      Username?: string;
      Secret?: string;
    };
    if (Username === TOKEN_USER) return { username: '', password: '', identityToken: Secret };
    return { username: Username, password: Secret };
  }

  /** What the helper prints; null = it has no such entry. */
  async #run(
    helper: string,
    verb: 'get' | 'store' | 'erase',
    input: string,
  ): Promise<string | null> {
    if (!HELPER_NAME.test(helper)) {
      throw new SkepError('invalid-argument', `credential helper ${helper}: malformed name`);
    }
    const program = `docker-credential-${helper}`;
    const { status, stdout, stderr } = await run(program, verb, input, this.#env);
    if (status === 0) return stdout;
    if (/credentials not found/i.test(stdout + stderr)) return null;
    throw new SkepError('internal', `${program} ${verb}: ${(stdout || stderr).trim()}`);
  }
}

function run(
  program: string,
  verb: string,
  input: string,
  env: Environment,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [verb], { env: { ...env }, stdio: 'pipe' });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on('error', () => {}); // a helper that reads nothing says why by its status
    child.once('error', (cause) => reject(new SkepError('not-found', `run ${program}`, { cause })));
    child.once('close', (status) => resolve({ status, stdout, stderr }));
    child.stdin.end(input);
  });
}

function helperOf(config: ConfigFile, key: string): string | null {
  return (
    config.credHelpers?.[hostOf(key)] ?? config.credHelpers?.[key] ?? config.credsStore ?? null
  );
}

function keyOf(domain: string): string {
  return domain === 'docker.io' ? HUB_KEY : domain;
}

/** Old entries are URLs. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').split('/')[0] ?? '';
}

function credentialsOf({ auth = '', identitytoken }: StoredAuth): RegistryCredentials | null {
  const pair = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const at = pair.indexOf(':');
  const username = pair.slice(0, Math.max(at, 0));
  const password = pair.slice(at + 1);
  if (username === '' && !identitytoken) return null;
  return { username, password, ...(identitytoken && { identityToken: identitytoken }) };
}
