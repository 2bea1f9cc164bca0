import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { deploy } from '../../../../cli/commands/stack-deploy.ts';
import { config, lint } from '../../../../cli/commands/stack-lint.ts';
import { type CommandWorld, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let cwd: string;
beforeEach(async () => {
  cwd = await makeFolder();
});

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(cwd, name)), { recursive: true });
    writeFileSync(join(cwd, name), text);
  }
}

const run = (configure: typeof lint, argv: readonly string[], world: CommandWorld = {}) =>
  runCommand(configure, argv, { cwd, ...world });

const FILE = `services:
  web:
    image: web:\${TAG:-1}
    build: .
    x-own: 1
    ports: ["8080:80"]
    restart: always
`;

describe('stack lint', () => {
  test('says of each key what becomes of it, with its place', async () => {
    write({ 'stack.yml': FILE });
    const named = await run(lint, ['-c', 'stack.yml']);
    expect(await run(lint, ['stack.yml'])).toEqual(named);
    expect(named).toEqual({
      status: 0,
      stdout: `stack.yml:3:5  honoured   services.web.image    ContainerSpec.Image
stack.yml:4:5  ignored    services.web.build    images are not built here: \`image\` must name one
stack.yml:5:5  extension  services.web.x-own    not read
stack.yml:6:5  honoured   services.web.ports    EndpointSpec.Ports
stack.yml:7:5  mapped     services.web.restart  RestartPolicy, unless deploy.restart_policy is given
2 honoured, 1 mapped, 1 ignored, 1 extension
`,
      stderr: '',
    });
  });

  test('fails for refused keys and for mistakes, and tells the rest nevertheless', async () => {
    write({ 'stack.yml': 'services:\n  web: {image: w, mac_address: r, usr: me}\n' });
    const { status, stdout, stderr } = await run(lint, ['stack.yml']);
    expect(status).toBe(1);
    expect(stdout).toBe(`stack.yml:2:9   honoured  services.web.image        ContainerSpec.Image
stack.yml:2:19  refused   services.web.mac_address  MAC addresses follow from the cluster's own addresses
1 honoured, 1 refused
`);
    expect(stderr.split('\n')[0]).toBe(
      "stack.yml:2:35: unknown key 'usr' in services.web; did you mean user?",
    );
  });

  test('prints the same as JSON', async () => {
    write({ 'stack.yml': FILE.replace('restart', 'restrt') });
    const { status, stdout } = await run(lint, ['-o', 'json', 'stack.yml']);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      keys: expect.arrayContaining([
        {
          file: 'stack.yml',
          line: 4,
          column: 5,
          path: 'services.web.build',
          verdict: 'ignored',
          text: 'images are not built here: `image` must name one',
        },
      ]),
      problems: [
        {
          file: 'stack.yml',
          line: 7,
          column: 5,
          message: "unknown key 'restrt' in services.web; did you mean restart?",
        },
      ],
      warnings: [],
    });
  });

  test('a file that is no YAML has mistakes and no keys', async () => {
    write({ 'stack.yml': 'services:\n\tweb: {}\n' });
    const { status, stdout, stderr } = await run(lint, ['stack.yml']);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^stack.yml:2:1: tab used as indentation/);
    const mended = await run(lint, ['--fix-whitespace', 'stack.yml']);
    expect(mended.stderr).toMatch(
      /^stack.yml:2:1: tab as indentation is read as 2 spaces\nstack.yml:2:8: services.web: image is required/,
    );
  });
});

describe('stack config', () => {
  test('prints files that are merged, from the directory of the first', async () => {
    write({
      'app/a.yml': 'services: {web: {image: "web:${TAG}", volumes: ["./d:/d"]}}\n',
      'app/.env': 'TAG=3\n',
      'b.yml': 'services: {web: {user: me}}\n',
    });
    const { status, stdout, stderr } = await run(config, ['-c', 'app/a.yml', '-c', 'b.yml']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toBe(`services:
  web:
    image: web:3
    volumes:
      - ${cwd}/app/d:/d
    user: me
`);
  });

  test('reads standard input, with the working directory as its own', async () => {
    write({ 'v.env': 'TAG=4\n' });
    const world = { stdin: 'services: {web: {image: "web:${TAG}"}}\n' };
    const { stdout } = await run(config, ['-c', '-', '--env-file', 'v.env'], world);
    expect(stdout).toBe('services:\n  web:\n    image: web:4\n');
  });

  test('--skip-interpolation leaves variables as they are', async () => {
    write({ 'a.yml': 'services: {web: {image: "web:${TAG}"}}\n' });
    const { stdout } = await run(config, ['-c', 'a.yml', '--skip-interpolation']);
    expect(stdout).toBe('services:\n  web:\n    image: web:${TAG}\n');
  });

  test.each([
    [[], 'Specify a Compose file (with --compose-file)'],
    [['-c', 'no.yml'], 'open no.yml: no such file or directory'],
    [['-c', '-', '-c', '-'], 'standard input can be read only once'],
  ])('%j fails', async (argv, expected) => {
    expect(await run(config, argv)).toMatchObject({ status: 1, stderr: `${expected}\n` });
  });
});

describe('stack deploy', () => {
  const noManager = { engine: { info: async () => ({ Swarm: { ControlAvailable: false } }) } };

  test('refuses before it asks the daemon anything', async () => {
    write({ 'a.yml': 'services:\n  web: {image: w, mac_address: kata}\n' });
    const { status, stderr } = await run(deploy, ['-c', 'a.yml', 'shop']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^a.yml:2:19: services.web.mac_address is refused: /);
  });

  test('goes on without refused keys when it is told to', async () => {
    write({ 'a.yml': 'services:\n  web: {image: w, mac_address: kata}\n' });
    const { stderr } = await run(deploy, ['-c', 'a.yml', '--ignore-refused', 'shop'], noManager);
    expect(stderr).toMatch(/^this node is not a swarm manager/);
  });

  test('a locked manager is told apart from a node that is none', async () => {
    write({ 'a.yml': 'services:\n  web: {image: w}\n' });
    const Swarm = { ControlAvailable: false, LocalNodeState: 'locked' };
    const locked = { engine: { info: async () => ({ Swarm }) } };
    expect((await run(deploy, ['-c', 'a.yml', 'shop'], locked)).stderr).toBe(
      'this manager is locked. Use "skep swarm unlock" and try again\n',
    );
  });
});
