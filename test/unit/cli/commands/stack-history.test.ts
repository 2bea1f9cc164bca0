import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { deploy } from '../../../../cli/commands/stack-deploy.ts';
import { history, rollback } from '../../../../cli/commands/stack-history.ts';
import { StackWorld } from '../../../support/stack-world.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let cwd: string;
let world: StackWorld;
beforeEach(async () => {
  cwd = await makeFolder();
  world = await StackWorld.start();
});
afterEach(() => world.stop());

const env = { USER: 'ada' };

/** One deployment of `web` with this image and content of its secret. */
async function up(image: string, key = 'one', more = ''): Promise<void> {
  writeFileSync(
    join(cwd, 'stack.yml'),
    `services:
  web: {image: "${image}", secrets: [key]}
${more}secrets: {key: {file: key.txt}}
`,
  );
  writeFileSync(join(cwd, 'key.txt'), key);
  const argv = ['-c', 'stack.yml', '--resolve-image', 'never', '--detach', '--prune', 'shop'];
  const { status, stderr } = await world.run(deploy, argv, { cwd, env });
  expect([status, stderr]).toEqual([0, '']);
  await world.rooms.pass(7000, 1000);
}

const back = (...argv: string[]) => world.run(rollback, [...argv, 'shop'], { env });
const rows = async (format: string): Promise<string[]> => {
  const { stdout } = await world.run(history, ['--format', format, 'shop']);
  return stdout.trim().split('\n');
};
const image = (): string => world.service('shop_web').spec.task.container.image;
const secret = (): string => world.service('shop_web').spec.task.container.secrets[0]!.secretName;
/** Without the records of deployments. */
const configs = (): string[] =>
  world.names('config').filter((name) => !name.includes('.deployment.'));

describe('stack history', () => {
  test('says who deployed, when, and how it ended', async () => {
    await up('web:1');
    writeFileSync(join(cwd, 'stack.yml'), 'services: {web: {image: "web:2"}, db: {image: db}}\n');
    await world.run(deploy, ['-c', 'stack.yml', '--resolve-image', 'never', 'shop'], { cwd, env });
    await world.rooms.pass(120_000, 10_000);
    const { stdout } = await world.run(history, ['shop']);
    expect(stdout).toBe(`DEPLOYMENT   WHEN            BY              WHAT      RESULT      SERVICES
2            2 minutes ago   ada@manager-1   deploy    converged   2
1            2 minutes ago   ada@manager-1   deploy                1
`);
    expect(await rows('{{.Deployment}} {{.CreatedAt}}')).toEqual([
      expect.stringMatching(/^2 2026-01-01T00:\d\d:\d\d/),
      expect.stringMatching(/^1 2026-01-01T00:\d\d:\d\d/),
    ]);
  });

  test('a deployment that changes nothing is none', async () => {
    await up('web:1');
    await up('web:1');
    expect(await rows('{{.Deployment}}')).toEqual(['1']);
    const { stderr } = await world.run(history, ['other']);
    expect(stderr).toBe('No deployment of stack other is kept\n');
  });

  test('has what went wrong half-way, and goes back from it', async () => {
    await up('web:1');
    writeFileSync(
      join(cwd, 'stack.yml'),
      'services: {web: {image: "web:2"}, db: {image: db, depends_on: [web]}}\n',
    );
    world.beforeCall = async (method, path) => {
      if (method === 'POST' && path === '/services/create') throw new ApiError(500, 'no room');
    };
    const argv = ['-c', 'stack.yml', '--resolve-image', 'never', 'shop'];
    expect(await world.run(deploy, argv, { cwd, env })).toMatchObject({
      status: 1,
      stderr: 'Error response from daemon: no room\n',
    });
    expect(image()).toBe('web:2');
    expect(await rows('{{.Deployment}} {{.Result}}')).toEqual(['2 incomplete', '1']);
    expect((await back()).status).toBe(0);
    expect(image()).toBe('web:1');
  });

  test('does not have what came to nothing', async () => {
    await up('web:1');
    world.beforeCall = async (method, path) => {
      if (method === 'POST' && path.endsWith('/update')) throw new ApiError(500, 'no room');
    };
    writeFileSync(join(cwd, 'stack.yml'), 'services: {web: {image: "web:2"}}\n');
    const argv = ['-c', 'stack.yml', '--resolve-image', 'never', 'shop'];
    expect((await world.run(deploy, argv, { cwd, env })).status).toBe(1);
    expect(await rows('{{.Deployment}}')).toEqual(['1']);
  });

  test('two deployments at the same time get a number each', async () => {
    await up('web:1');
    let isFirst = true;
    world.beforeCall = async (method, path) => {
      if (method !== 'POST' || path !== '/configs/create' || !isFirst) return;
      isFirst = false;
      await up('web:3');
    };
    await up('web:2');
    expect(await rows('{{.Deployment}}')).toEqual(['3', '2', '1']);
  });

  test('keeps ten, and the versions of secrets that those or services name', async () => {
    for (let at = 1; at <= 12; at++) await up('web:1', `content ${at}`);
    expect(await rows('{{.Deployment}}')).toEqual([12, 11, 10, 9, 8, 7, 6, 5, 4, 3].map(String));
    expect(world.names('config')).toHaveLength(10);
    expect(world.names('secret')).toHaveLength(10);
    expect(world.names('secret')).not.toContain('shop_key.2');
    expect(secret()).toBe('shop_key.12');
    expect((await back('--to', '3', '--detach')).status).toBe(0);
    expect(secret()).toBe('shop_key.3');
    const { stderr } = await back('--to', '3', '--detach');
    expect(stderr).toBe(
      'stack shop has no deployment 3 any more: there are 13, 12, 11, 10, 9, 8, 7, 6, 5, 4\n',
    );
  });

  test('a deployment whose old records another one removes ends well', async () => {
    for (let at = 1; at <= 10; at++) await up('web:1', `content ${at}`);
    let removed = 0;
    world.beforeCall = async (method, path) => {
      if (method !== 'DELETE' || !path.startsWith('/configs/') || removed++ > 0) return;
      await world.call('DELETE', path, {});
    };
    await up('web:1', 'content 11');
    expect(removed).toBeGreaterThan(0);
    expect((await rows('{{.Deployment}}')).length).toBe(10);
  });

  test('records are no configs to those who do not ask for them', async () => {
    await up('web:1');
    expect(await world.call('GET', '/configs', {})).toEqual([]);
    const filters = JSON.stringify({ label: { 'com.docker.stack.namespace=shop': true } });
    expect(await world.call('GET', '/configs', { query: { filters } })).toHaveLength(1);
    const [record] = world.rooms.test.store.view((view) => view.list('config'));
    expect(Buffer.from(record!.spec.data).includes('one')).toBe(false);
  });

  test('a stack with a long name is kept as well', async () => {
    writeFileSync(
      join(cwd, 'stack.yml'),
      'services: {w: {image: web, networks: [n]}}\nnetworks: {n: {}}\n',
    );
    const stack = 's'.repeat(61);
    const argv = ['-c', 'stack.yml', '--resolve-image', 'never', '--detach', stack];
    expect((await world.run(deploy, argv, { cwd })).stderr).toBe('');
    expect((await world.run(history, ['-q', stack])).stdout).toBe('1\n');
  });
});

describe('stack rollback', () => {
  test('brings the deployment before back, with the old content of its files', async () => {
    await up('web:1', 'one');
    await up('web:2', 'two', '  added: {image: added}\n');
    const { status, stdout } = await back();
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Removing service shop_added\nUpdating service shop_web \(id: \w+\)\n/);
    expect([image(), secret(), world.names('service')]).toEqual([
      'web:1',
      'shop_key',
      ['shop_web'],
    ]);
    expect(await rows('{{.Deployment}} {{.What}} {{.Result}}')).toEqual([
      '3 rollback to 1 converged',
      '2 deploy ',
      '1 deploy',
    ]);
    expect(configs()).toEqual([]);
  });

  test('twice is where it began', async () => {
    await up('web:1', 'one');
    await up('web:2', 'two');
    await back('--detach');
    await back('--detach');
    expect([image(), secret()]).toEqual(['web:2', 'shop_key.2']);
  });

  test('shows its plan and changes nothing', async () => {
    await up('web:1', 'one');
    await up('web:2', 'two');
    world.writes.length = 0;
    const { stdout } = await back('--plan');
    expect(stdout).toContain('  ! service  shop_web  replace 1 task, forced by image, secrets\n');
    expect(world.writes).toEqual([]);
  });

  test.each([
    [[], 'stack shop has no deployment before this one\n'],
    [['--to', '7'], 'stack shop has no deployment 7 any more: there are 1\n'],
  ])('%j without such a deployment fails', async (argv, stderr) => {
    await up('web:1');
    expect(await back(...argv)).toMatchObject({ status: 1, stderr });
  });

  test('of a stack that nobody deployed fails', async () => {
    expect(await back()).toMatchObject({
      status: 1,
      stderr: 'no deployment of stack shop is kept\n',
    });
  });
});
