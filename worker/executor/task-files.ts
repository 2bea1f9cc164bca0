/**
 * The files that a task finds in its root beside the image's: resolv.conf, hosts, hostname, secrets
 * and configs. The first three lie on disk, the others in one tmpfs per node, never on disk.
 */
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import { settled } from '../../common/base/settled.ts';
import type { FileTarget } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { OciMount } from '../runtime/oci.ts';
import type { Dependencies } from './executor.ts';

export interface TaskFilesOptions {
  /** on disk; one directory per task below it */
  readonly dir: string;
  /** made on first use and mounted by `mountMemory`; one directory per task below it */
  readonly memoryDir: string;
  /** Mounts a tmpfs there. Idempotent. */
  readonly mountMemory: (path: string) => Promise<void>;
}

export interface NameFiles {
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
}

const READ_ONLY_BIND = ['bind', 'ro', 'rprivate', 'nosuid', 'nodev'];
const WRITABLE_BIND = ['bind', 'rprivate'];

export class TaskFiles {
  readonly #options: TaskFilesOptions;

  constructor(options: TaskFilesOptions) {
    this.#options = options;
  }

  /** Writes them and says how they are mounted. */
  async writeNames(taskId: string, files: NameFiles): Promise<OciMount[]> {
    const dir = join(this.#options.dir, taskId);
    await mkdir(dir, { recursive: true, mode: 0o711 });
    const write = async (name: string, content: string): Promise<OciMount> => {
      const source = join(dir, name);
      await writeFile(source, content, { mode: 0o644 });
      return { destination: `/etc/${name}`, type: 'bind', source, options: WRITABLE_BIND };
    };
    return settled([
      write('resolv.conf', files.resolvConf),
      write('hosts', files.hosts),
      write('hostname', `${files.hostname}\n`),
    ]);
  }

  /** The task's secrets (below /run/secrets unless absolute) and configs (below /). */
  async writePayloads(task: Task, dependencies: Dependencies): Promise<OciMount[]> {
    const { secrets, configs } = task.spec.container;
    if (secrets.length === 0 && configs.length === 0) return [];
    await mkdir(this.#options.memoryDir, { recursive: true, mode: 0o700 });
    await this.#options.mountMemory(this.#options.memoryDir);
    const dir = join(this.#options.memoryDir, task.id);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const mounts: OciMount[] = [];
    const add = async (file: FileTarget, data: Uint8Array, parent: string): Promise<void> => {
      const source = join(dir, String(mounts.length));
      await writePayload(source, file, data);
      const destination = file.name.startsWith('/') ? file.name : join(parent, file.name);
      mounts.push({ destination, type: 'bind', source, options: READ_ONLY_BIND });
    };
    for (const { secretId, secretName, file } of secrets) {
      const secret = dependencies.secret(secretId);
      if (!secret) throw new SkepError('not-found', `secret not found: ${secretName}`);
      await add(file, secret.data, '/run/secrets');
    }
    for (const { configId, configName, file } of configs) {
      if (!file) continue;
      const config = dependencies.config(configId);
      if (!config) throw new SkepError('not-found', `config not found: ${configName}`);
      await add(file, config.data, '/');
    }
    return mounts;
  }

  /** Tasks that have files here, known to anybody or not. */
  async list(): Promise<readonly string[]> {
    const { dir, memoryDir } = this.#options;
    return [...(await namesIn(dir)), ...(await namesIn(memoryDir))];
  }

  async remove(taskId: string): Promise<void> {
    await rm(join(this.#options.dir, taskId), { recursive: true, force: true });
    await rm(join(this.#options.memoryDir, taskId), { recursive: true, force: true });
  }
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw err;
  }
}

/** Mode after owner: a change of owner clears bits of the mode. */
async function writePayload(path: string, file: FileTarget, data: Uint8Array): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, data, { mode: 0o600 });
  await chown(path, ownerNumber('uid', file.uid), ownerNumber('gid', file.gid));
  await chmod(path, file.mode);
}

function ownerNumber(what: 'uid' | 'gid', text: string): number {
  if (!/^\d+$/.test(text || '0')) {
    throw new SkepError('invalid-argument', `file ${what} must be a number: got '${text}'`);
  }
  return Number(text || 0);
}
