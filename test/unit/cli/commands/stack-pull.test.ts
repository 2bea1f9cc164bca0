import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stackPull } from '../../../../cli/commands/stack-pull.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
const service = (Image: string) => ({ Spec: { TaskTemplate: { ContainerSpec: { Image } } } });
const DIGEST = `sha256:${'a'.repeat(64)}`;

/** Nodes that get whatever the registry has. */
function engine(services: readonly object[], missing = '') {
  const calls: string[] = [];
  const fake: FakeEngine = {
    services: async (filters: object) => {
      expect(filters).toEqual({ label: ['com.docker.stack.namespace=shop'] });
      return services;
    },
    imagePull: async function* (name: string, tag: string) {
      calls.push(`pull ${name} ${tag}`);
      if (name === missing) yield { error: `no ${name} there` };
    },
    imageDistribute: async function* (name: string) {
      calls.push(`distribute ${name}`);
      yield { id: 'host-2', status: 'Image is there' };
    },
  };
  return { fake, calls };
}
const env = { HOME: '/nowhere' };

describe('stack pull', () => {
  test('brings the images of what is deployed to every node, each once', async () => {
    const pinned = `web:2@${DIGEST}`;
    const { fake, calls } = engine([service(pinned), service('db:1'), service(pinned)]);
    const { status, stdout } = await runCommand(stackPull, ['shop'], { engine: fake, env });
    expect([status, stdout]).toEqual([
      0,
      `host-2: Image is there\ndb:1\nhost-2: Image is there\n${pinned}\n`,
    ]);
    expect(calls).toEqual([
      ...['pull db 1', 'distribute db:1'],
      ...[`pull web ${DIGEST}`, `distribute ${pinned}`],
    ]);
  });

  test('of a file, before it is deployed', async () => {
    const cwd = await makeFolder();
    writeFileSync(join(cwd, 'stack.yml'), 'services: {web: {image: "web:3", volumes_from: [a]}}\n');
    const { fake, calls } = engine([]);
    const argv = ['-q', '-c', 'stack.yml', 'shop'];
    const { stdout } = await runCommand(stackPull, argv, { engine: fake, cwd, env });
    expect([stdout, calls]).toEqual(['web:3\n', ['pull web 3', 'distribute web:3']]);
  });

  test('goes on after one that is not to be had, and says so', async () => {
    const { fake, calls } = engine([service('a:1'), service('b:1')], 'a');
    const result = await runCommand(stackPull, ['-q', 'shop'], { engine: fake, env });
    expect(result).toEqual({ status: 1, stdout: 'b:1\n', stderr: 'no a there\n' });
    expect(calls).toEqual(['pull a 1', 'pull b 1', 'distribute b:1']);
  });

  test('of a stack that nobody deployed fails', async () => {
    const { fake } = engine([]);
    const { status, stderr } = await runCommand(stackPull, ['shop'], { engine: fake, env });
    expect([status, stderr]).toEqual([1, 'nothing found in stack: shop\n']);
  });
});
