import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { stackBuild } from '../../../../cli/commands/stack-build.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();

/** A buildah that notes what it is told, and whose archives are their own names. */
const BUILDER = `#!/bin/sh
echo "$@" >>"$(dirname "$0")/told"
case "$1 $3" in
build*) echo "STEP 1: $2"; for last; do :; done; [ "$last" != /broken ] ;;
push*) for last; do :; done; file="\${last#docker-archive:}"; printf %s "$3" >"\${file%%.tar:*}.tar" ;;
esac
`;

async function scene(file: string, hasBuilder = true) {
  const dir = await makeFolder();
  writeFileSync(join(dir, 'stack.yml'), file);
  if (hasBuilder) {
    writeFileSync(join(dir, 'buildah'), BUILDER);
    chmodSync(join(dir, 'buildah'), 0o755);
  }
  const calls: string[] = [];
  const engine: FakeEngine = {
    imageLoad: async function* (tar: NodeJS.ReadableStream) {
      calls.push(`load ${await text(tar)}`);
      yield { stream: 'Loaded image' };
    },
    imageDistribute: async function* (name: string) {
      calls.push(`distribute ${name}`);
      yield { id: 'host-2', status: 'Image is there' };
    },
  };
  const env = { HOME: '/nowhere', PATH: hasBuilder ? `${dir}:/usr/bin:/bin` : dir };
  const build = (...argv: string[]) =>
    runCommand(stackBuild, ['-c', 'stack.yml', ...argv], { engine, env, cwd: dir });
  return { dir, calls, build, told: () => readFileSync(join(dir, 'told'), 'utf8') };
}

describe('stack build', () => {
  const file =
    'services: {web: {image: "web:1", build: {context: /app, tags: ["web:2"]}}, db: {image: db}}\n';

  test('builds, loads, and brings to every node, under each name', async () => {
    const { build, calls, told } = await scene(file);
    const { status, stdout, stderr } = await build();
    expect([status, stderr]).toEqual([0, 'STEP 1: --format\n']);
    expect(told().split('\n')[0]).toBe('build --format docker --tag web:1 --tag web:2 /app');
    expect(calls).toEqual(['load web:1', 'distribute web:1', 'load web:2', 'distribute web:2']);
    expect(stdout).toBe('host-2: Image is there\nweb:1\nhost-2: Image is there\nweb:2\n');
  });

  test('is quiet when it is told so', async () => {
    const { build } = await scene(file);
    expect(await build('-q')).toEqual({ status: 0, stdout: 'web:1\nweb:2\n', stderr: '' });
  });

  test('gives a Dockerfile that stands in the stack file as one', async () => {
    const { build, told } = await scene(
      'services: {web: {image: "web:1", build: {dockerfile_inline: "FROM scratch"}}}\n',
    );
    expect((await build()).status).toBe(0);
    expect(told()).toMatch(/ --file \S+\/Dockerfile --tag web:1 \//);
  });

  test('ends where a build fails, with the service and what was said', async () => {
    const { build, calls } = await scene('services: {web: {image: web, build: /broken}}\n');
    const { status, stderr } = await build('-q');
    expect([status, stderr]).toEqual([
      1,
      'STEP 1: --format\nservices.web.build: buildah build ended with 1\n',
    ]);
    expect(calls).toEqual([]);
  });

  test('says what is missing', async () => {
    const { build } = await scene(file, false);
    expect(await build()).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('images are built by buildah, which is not here: install it'),
    });
    const none = await scene('services: {db: {image: db}}\n');
    expect(await none.build()).toMatchObject({
      status: 1,
      stderr: 'no service of the file has a build\n',
    });
  });
});
