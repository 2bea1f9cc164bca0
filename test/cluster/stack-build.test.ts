// build: an image that the stack file describes, made on the machine that deploys and run on other nodes.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const BUSYBOX = '/bin/busybox';
const hasBuilder = spawnSync('buildah', ['--version']).status === 0;
const title = hasBuilder ? 'build of a stack file' : 'build of a stack file (skipped: no buildah)';

describe.skipIf(!clusterTestsCanRun || !hasBuilder)(title, { timeout: 90_000 }, () => {
  let dir: string;
  const shared = useCluster('build', { managers: 1, workers: 1 });
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    mkdirSync(join(dir, 'app'));
    copyFileSync(BUSYBOX, join(dir, 'app/busybox'));
    writeFileSync(join(dir, 'app/page'), 'from the context\n');
    writeFileSync(
      join(dir, 'app/Dockerfile-name'),
      `FROM scratch
ARG WORD=none
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY page /page
RUN echo "built with $WORD" >/word
CMD ["sleep", "3600"]
`,
    );
    // A store of its own, which needs neither a file system above another nor namespaces.
    writeFileSync(
      join(dir, 'storage.conf'),
      `[storage]\ndriver = "vfs"\ngraphroot = "${dir}/store"\nrunroot = "${dir}/run"\n`,
    );
    const service = (more: string) =>
      `{image: "skep-test/built:1", stop_grace_period: 1s, deploy: {mode: global}${more}}`;
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  web: ${service(', build: {context: app, dockerfile: Dockerfile-name, args: {WORD: care}, labels: {made.by: skep}}')}
`,
    );
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const env = () => ({
    CONTAINERS_STORAGE_CONF: join(dir, 'storage.conf'),
    BUILDAH_ISOLATION: 'chroot',
    TMPDIR: dir,
  });

  test('is made, and is on every node', async () => {
    const { current } = shared;
    const built = await current.try(['stack', 'build', '-c', 'stack.yml'], {
      cwd: dir,
      env: env(),
    });
    expect([built.code, built.stdout], built.stderr).toEqual([
      0,
      expect.stringMatching(/(^|\n)skep-test\/built:1\n$/),
    ]);
    for (const { name } of current.hosts) {
      const format = ['--format', '{{index .Config.Labels "made.by"}}'];
      const words = ['image', 'inspect', ...format, 'skep-test/built:1'];
      expect(await current.skep(words, { host: name }), name).toBe('skep\n');
    }
  });

  test('is what runs in the containers of all nodes', async () => {
    const { current } = shared;
    const argv = ['stack', 'deploy', '-c', 'stack.yml', '--resolve-image', 'never', 'b'];
    succeeded(await current.try(argv, { cwd: dir }));
    await current.running('b_web', 2);
    const said = await current.skep([
      ...['service', 'exec', '--all', 'b_web', '--', 'cat', '/page', '/word'],
    ]);
    const lines = said
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' | ')[1]);
    expect(lines.sort()).toEqual([
      ...['built with care', 'built with care', 'from the context', 'from the context'],
    ]);
    await current.skep(['stack', 'rm', 'b']);
  });

  test('a build that fails stops there, and says where', async () => {
    writeFileSync(
      join(dir, 'broken.yml'),
      'services: {web: {image: "skep-test/broken:1", build: {dockerfile_inline: "FROM scratch\\nCOPY nothing /x"}}}\n',
    );
    const broken = await shared.current.try(['stack', 'build', '-q', '-c', 'broken.yml'], {
      cwd: dir,
      env: env(),
    });
    expect([broken.code, broken.stderr]).toEqual([
      1,
      expect.stringMatching(/nothing[\s\S]*\nservices\.web\.build: buildah build ended with \d+\n$/),
    ]);
  });
});
