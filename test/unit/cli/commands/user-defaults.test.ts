import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { beforeEach, describe, expect, test } from 'vitest';
import type { CommandContext } from '../../../../cli/commands/context.ts';
import { execFlags } from '../../../../cli/commands/exec.ts';
import { secretLs } from '../../../../cli/commands/secret.ts';
import { inspect, ls } from '../../../../cli/commands/service.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let home: string;
beforeEach(async () => {
  home = await makeFolder();
});

function settings(folder: '.docker' | '.skep', text: string): void {
  mkdirSync(join(home, folder), { recursive: true });
  writeFileSync(join(home, folder, 'config.json'), text);
}

const spec = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'web:1' } }, Mode: {} };
const service = { ID: 's1', Spec: spec, CreatedAt: '', UpdatedAt: '', Version: { Index: 1 } };
const engine: FakeEngine = {
  services: async () => [service],
  service: async () => service,
  networks: async () => [],
  secrets: async () => [],
};
const list = (...argv: string[]) => runCommand(ls, argv, { engine, env: { HOME: home } });

describe('config.json says how lists look', () => {
  test('of docker, when nothing else is said', async () => {
    settings('.docker', '{"servicesFormat": "{{.Name}} of docker", "secretFormat": "no"}');
    expect((await list()).stdout).toBe('web of docker\n');
    expect((await list('--format', '{{.ID}}')).stdout).toBe('s1\n');
    expect((await list('-q')).stdout).toBe('s1\n');
  });

  test('one of ours goes over it, key by key', async () => {
    settings('.docker', '{"servicesFormat": "{{.Name}} of docker", "secretFormat": "table x"}');
    settings('.skep', '{"servicesFormat": "{{.Name}} of skep", "currentContext": "default"}');
    expect((await list()).stdout).toBe('web of skep\n');
    const secrets = await runCommand(secretLs, [], { engine, env: { HOME: home } });
    expect(secrets.stdout).toBe('x\n');
  });

  test('where the environment says it lies', async () => {
    settings('.docker', '{"servicesFormat": "{{.Name}} elsewhere"}');
    const env = { HOME: '/nowhere', DOCKER_CONFIG: join(home, '.docker') };
    expect((await runCommand(ls, [], { engine, env })).stdout).toBe('web elsewhere\n');
  });

  test('of inspect, pretty too', async () => {
    settings('.docker', '{"serviceInspectFormat": "pretty"}');
    const { stdout } = await runCommand(inspect, ['web'], { engine, env: { HOME: home } });
    expect(stdout).toMatch(/^ID:\s+s1\nName:\s+web\n/);
  });

  test('and is no hindrance when it is broken', async () => {
    settings('.docker', '{"servicesFormat": ');
    const { status, stdout, stderr } = await list();
    expect([status, stdout.split('\n').length]).toEqual([0, 3]);
    expect(stderr).toMatch(/^WARNING: read \S+config.json: not JSON\n$/);
  });
});

test('config.json says which keys leave a terminal', async () => {
  settings('.docker', '{"detachKeys": "ctrl-e,e"}');
  const context = { env: { HOME: home } } as unknown as CommandContext;
  const given = async (...argv: string[]): Promise<unknown> => {
    const command = execFlags(new Command(), context).action(() => {});
    await command.parseAsync(argv, { from: 'user' });
    return command.getOptionValue('detachKeys');
  };
  expect(await given()).toBe('ctrl-e,e');
  expect(await given('--detach-keys', 'ctrl-q')).toBe('ctrl-q');
});
