import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ConfigId, SecretId } from '../../../common/model/ids.ts';
import type { ContainerSpec, FileTarget } from '../../../common/model/service.ts';
import type { Dependencies } from '../../../worker/executor/executor.ts';
import { TaskFiles } from '../../../worker/executor/task-files.ts';
import { aContainerSpec, aTask, aTaskSpec, idOf } from '../../support/builders.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const SECRET = idOf<SecretId>('sec');
const CONFIG = idOf<ConfigId>('cfg');
const UID = process.getuid?.() ?? 0;
const GID = process.getgid?.() ?? 0;

/** Owned by whoever runs the test, so that it needs no root. */
function target(name: string, mode = 0o444): FileTarget {
  return { name, uid: String(UID), gid: String(GID), mode };
}

const verbatim = (text: string) => ({ data: Buffer.from(text), templateDriver: '' });

const dependencies: Dependencies = {
  secret: (id) => (id === SECRET ? { id: SECRET, name: 'pass', ...verbatim('hush') } : undefined),
  config: (id) => (id === CONFIG ? { id: CONFIG, name: 'conf', ...verbatim('k = v') } : undefined),
};

async function scene(container: Partial<ContainerSpec> = {}) {
  const dir = await folder();
  const mounted: string[] = [];
  const files = new TaskFiles({
    dir: join(dir, 'files'),
    memoryDir: join(dir, 'memory'),
    mountMemory: async (path, { sizeBytes, files }) => {
      mounted.push(`${path} ${sizeBytes} ${files}`);
    },
    unmountMemory: async (path) => void mounted.push(`not ${path}`),
  });
  const task = aTask({ spec: aTaskSpec({ container: aContainerSpec(container) }) });
  return { dir, files, task, mounted };
}

function secret(file: FileTarget) {
  return { secretId: SECRET, secretName: 'pass', file };
}

function config(file: FileTarget | null) {
  return { configId: CONFIG, configName: 'conf', file };
}

describe('files of a task', () => {
  test('its names are on disk and writable to it', async () => {
    const { files, task } = await scene();
    const names = {
      resolvConf: 'nameserver 127.0.0.11\n',
      hosts: '127.0.0.1\tlocalhost\n',
      hostname: 'box',
    };
    const mounts = await files.writeNames(task.id, names);
    expect(mounts.map(({ destination }) => destination)).toEqual([
      '/etc/resolv.conf',
      '/etc/hosts',
      '/etc/hostname',
    ]);
    expect(mounts.every(({ options }) => !options.includes('ro'))).toBe(true);
    const contents = await Promise.all(mounts.map(({ source }) => readFile(source, 'utf8')));
    expect(contents).toEqual([names.resolvConf, names.hosts, 'box\n']);
  });

  test('no memory is mounted for a task without secrets and configs', async () => {
    const { files, task, mounted } = await scene();
    expect(await files.writePayloads(task, dependencies)).toEqual([]);
    expect(mounted).toEqual([]);
  });

  test('secrets and configs lie in memory, never beside the names on disk', async () => {
    const { files, task, dir, mounted } = await scene({ secrets: [secret(target('s'))] });
    const [mount] = await files.writePayloads(task, dependencies);
    expect(mounted).toEqual([`${join(dir, 'memory', task.id)} ${2 * 65_536} 1`]);
    expect(mount?.source.startsWith(join(dir, 'memory', task.id))).toBe(true);
    expect(await readFile(mount!.source, 'utf8')).toBe('hush');
    expect(mount?.options).toContain('ro');
  });

  test.each<[string, Partial<ContainerSpec>, string]>([
    [
      'a secret, below /run/secrets',
      { secrets: [secret(target('db/pass'))] },
      '/run/secrets/db/pass',
    ],
    ['a secret, absolute', { secrets: [secret(target('/etc/pass'))] }, '/etc/pass'],
    ['a config, below the root', { configs: [config(target('app.conf'))] }, '/app.conf'],
    ['a config, absolute', { configs: [config(target('/etc/app.conf'))] }, '/etc/app.conf'],
  ])('%s', async (_what, container, destination) => {
    const { files, task } = await scene(container);
    const mounts = await files.writePayloads(task, dependencies);
    expect(mounts.map((mount) => mount.destination)).toEqual([destination]);
  });

  test('a config without a file is not mounted', async () => {
    const { files, task } = await scene({ configs: [config(null)] });
    expect(await files.writePayloads(task, dependencies)).toEqual([]);
  });

  test('a file has the mode and the owner that were asked for', async () => {
    const { files, task } = await scene({ secrets: [secret(target('s', 0o4640))] });
    const [mount] = await files.writePayloads(task, dependencies);
    const { mode, uid, gid } = await stat(mount!.source);
    expect([mode & 0o7777, uid, gid]).toEqual([0o4640, UID, GID]);
  });

  test('may be written again by a further attempt', async () => {
    const { files, task } = await scene({ secrets: [secret(target('s', 0o400))] });
    const first = await files.writePayloads(task, dependencies);
    expect(await files.writePayloads(task, dependencies)).toEqual(first);
  });

  test.each<[string, Partial<ContainerSpec>, string]>([
    [
      'a secret that is not here',
      { secrets: [{ ...secret(target('s')), secretId: idOf<SecretId>('other') }] },
      'secret not found: pass',
    ],
    [
      'a config that is not here',
      { configs: [{ ...config(target('c')), configId: idOf<ConfigId>('other') }] },
      'config not found: conf',
    ],
    [
      'an owner by name',
      { secrets: [secret({ ...target('s'), uid: 'root' })] },
      "file uid must be a number: got 'root'",
    ],
  ])('%s is refused', async (_what, container, words) => {
    const { files, task } = await scene(container);
    await expect(files.writePayloads(task, dependencies)).rejects.toThrow(words);
  });

  test('removal takes all of one task and nothing of another', async () => {
    const { files, task, dir, mounted } = await scene({ secrets: [secret(target('s'))] });
    await files.writeNames(task.id, { resolvConf: '', hosts: '', hostname: 'a' });
    await files.writePayloads(task, dependencies);
    await mkdir(join(dir, 'files', 'other'));
    await files.remove(task.id);
    await files.remove(task.id);
    expect(await readdir(join(dir, 'files'))).toEqual(['other']);
    expect(await readdir(join(dir, 'memory'))).toEqual([]);
    expect(mounted.slice(1)).toEqual([`not ${join(dir, 'memory', task.id)}`]);
  });
});
