import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { ConfigId, SecretId } from '../../../common/model/ids.ts';
import type { ContainerSpec } from '../../../common/model/service.ts';
import type { Dependencies } from '../../../worker/executor/executor.ts';
import { expandDependencies, expandTask } from '../../../worker/executor/templates.ts';
import {
  aContainerSpec,
  aNodeDescription,
  aTask,
  aTaskSpec,
  idOf,
} from '../../support/builders.ts';
import { ControllerScene, OVERLAY } from '../../support/controller-scene.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const SECRET = idOf<SecretId>('sec');
const CONFIG = idOf<ConfigId>('cfg');
const [uid, gid] = [String(process.getuid?.() ?? 0), String(process.getgid?.() ?? 0)];
const file = (name: string) => ({ name, uid, gid, mode: 0o444 });
const files: Partial<ContainerSpec> = {
  secrets: [{ secretId: SECRET, secretName: 'pass', file: file('key') }],
  configs: [{ configId: CONFIG, configName: 'conf', file: file('/etc/conf') }],
};

function dependencies(secret: string, config: string, templateDriver = 'golang'): Dependencies {
  const data = (text: string) => ({ data: Buffer.from(text), templateDriver });
  return {
    secret: (id) => (id === SECRET ? { id: SECRET, name: 'pass', ...data(secret) } : undefined),
    config: (id) => (id === CONFIG ? { id: CONFIG, name: 'conf', ...data(config) } : undefined),
  };
}

const node = aNodeDescription({ hostname: 'here' });
const task = aTask({
  slot: 2,
  spec: aTaskSpec({
    container: aContainerSpec({ ...files, env: ['WHERE={{.Node.Hostname}}', 'LOUD'] }),
  }),
});

function config(text: string, templateDriver?: string, secret = 'hush'): string {
  const expanded = expandTask(task, node);
  const given = dependencies(secret, text, templateDriver);
  const data = expandDependencies(expanded, node, given).config(CONFIG)?.data;
  return Buffer.from(data!).toString('utf8');
}

describe('templates in configs and secrets', () => {
  test.each([
    ['slot = {{.Task.Slot}}', 'slot = 2'],
    ['where = {{env "WHERE"}}', 'where = here'],
    ['{{env "LOUD"}}{{env "NONE"}}|', '|'],
    ['password = {{secret "key"}}', 'password = hush'],
    ['{{if eq .Task.Slot "2"}}second{{end}}', 'second'],
  ])('%s is %s', (text, expected) => expect(config(text)).toBe(expected));

  test('are verbatim without the driver', () => {
    expect(config('{{.Task.Slot}}', '')).toBe('{{.Task.Slot}}');
  });

  test('what they include is not expanded again', () => {
    expect(config('{{secret "key"}}', 'golang', '{{.Task.Slot}}')).toBe('{{.Task.Slot}}');
  });

  test.each([
    [
      '{{secret "other"}}',
      /failed to expand templated config conf: .*secret target other not found/,
    ],
    ['{{config "other"}}', /config target other not found/],
    ['{{.Nothing}}', /can't evaluate field Nothing/],
  ])('%s is an error', (text, message) => expect(() => config(text)).toThrow(message));

  test('a secret may name a config', () => {
    const expanded = expandDependencies(task, node, dependencies('{{config "/etc/conf"}}', 'c'));
    expect(Buffer.from(expanded.secret(SECRET)!.data).toString()).toBe('c');
  });
});

describe('a task with templates', () => {
  test('runs with them expanded, also for its network', async () => {
    const it = new ControllerScene(await folder(), {
      container: {
        hostname: '{{.Node.Hostname}}-{{.Task.Slot}}',
        env: ['SLOT={{.Task.Slot}}'],
        ...files,
      },
      task: { networks: [OVERLAY] },
      dependencies: dependencies('hush', '{{secret "key"}} {{.Task.Slot}}'),
    });
    await it.controller().prepare(it.signal);
    const { spec } = it.runtime.bundle(it.id);
    expect(spec.hostname).toBe('here-1');
    expect(spec.process.env).toContain('SLOT=1');
    const mount = spec.mounts.find(({ destination }) => destination === '/etc/conf');
    expect(await readFile(mount!.source, 'utf8')).toBe('hush 1');
    expect(it.networks.requests[0]).toMatchObject({ hostname: 'here-1' });
  });

  test('is refused before anything is made when one means nothing here', async () => {
    const it = new ControllerScene(await folder(), { container: { hostname: '{{.Nothing}}' } });
    await expect(it.controller().prepare(it.signal)).rejects.toThrow(
      "expanding hostname failed: template parsing error: can't evaluate field Nothing",
    );
    expect(it.runtime.get(it.id)).toBeUndefined();
  });
});
