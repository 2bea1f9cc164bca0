/**
 * The files that a task finds in its root beside the image's: resolv.conf, hosts, hostname, secrets
 * and configs. The first three lie on disk, the others in a tmpfs of the task's own, never on disk.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { FileTarget } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { OciMount } from '../runtime/oci.ts';
import type { Dependencies } from './executor.ts';

export interface TaskFilesOptions {
  /** on disk; one directory per task below it */
  readonly dir: string;
  /** one directory per task that has secrets or configs below it, mounted by `mountMemory` */
  readonly memoryDir: string;
  /** Mounts a tmpfs there that takes no more. Idempotent. */
  readonly mountMemory: (path: string, limits: MemoryLimits) => Promise<void>;
  /** Whatever is mounted there or below. Idempotent. */
  readonly unmountMemory: (path: string) => Promise<void>;
}

export interface MemoryLimits {
  readonly sizeBytes: number;
  readonly files: number;
}

interface Payload {
  readonly file: FileTarget;
  readonly data: Uint8Array;
  /** of a name that is not absolute */
  readonly parent: string;
}

/** A file in a tmpfs takes whole pages, of which these are the largest that a kernel has. */
const PAGE_BYTES_MAX = 65_536;

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

  /**
   * Writes them and says how they are mounted. Synchronous within: a container waits for it, and queued behind other files'
   * work each step of it takes as long as all of them here.
   */
  async writeNames(taskId: string, files: NameFiles): Promise<OciMount[]> {
    const dir = join(this.#options.dir, taskId);
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    const write = (name: string, content: string): OciMount => {
      const source = join(dir, name);
      writeFileSync(source, content, { mode: 0o644 });
      return { destination: `/etc/${name}`, type: 'bind', source, options: WRITABLE_BIND };
    };
    return [
      write('resolv.conf', files.resolvConf),
      write('hosts', files.hosts),
      write('hostname', `${files.hostname}\n`),
    ];
  }

  /** The task's secrets (below /run/secrets unless absolute) and configs (below /). */
  async writePayloads(task: Task, dependencies: Dependencies): Promise<OciMount[]> {
    const payloads = payloadsOf(task, dependencies);
    if (payloads.length === 0) return [];
    const dir = join(this.#options.memoryDir, task.id);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const pages = payloads.reduce(
      (sum, { data }) => sum + Math.ceil(data.length / PAGE_BYTES_MAX),
      1,
    );
    const limits = { sizeBytes: pages * PAGE_BYTES_MAX, files: payloads.length };
    await this.#options.mountMemory(dir, limits);
    const mounts: OciMount[] = [];
    for (const { file, data, parent } of payloads) {
      const source = join(dir, String(mounts.length));
      await writePayload(source, file, data);
      const destination = file.name.startsWith('/') ? file.name : join(parent, file.name);
      mounts.push({ destination, type: 'bind', source, options: READ_ONLY_BIND });
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
    const memory = join(this.#options.memoryDir, taskId);
    if (!existsSync(memory)) return;
    await this.#options.unmountMemory(memory);
    await rm(memory, { recursive: true, force: true });
  }
}

/** Throws `not-found` for one that did not come with the task. */
function payloadsOf(task: Task, dependencies: Dependencies): Payload[] {
  const { secrets, configs } = task.spec.container;
  return [
    ...secrets.map(({ secretId, secretName, file }) => {
      const secret = dependencies.secret(secretId);
      if (!secret) throw new SkepError('not-found', `secret not found: ${secretName}`);
      return { file, data: secret.data, parent: '/run/secrets' };
    }),
    ...configs.flatMap(({ configId, configName, file }) => {
      if (!file) return [];
      const config = dependencies.config(configId);
      if (!config) throw new SkepError('not-found', `config not found: ${configName}`);
      return [{ file, data: config.data, parent: '/' }];
    }),
  ];
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
