// What a service shares with its node and is kept from, from the flag or the key to the running process.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const PROFILE = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
};
const SCRIPT =
  'tty; cat /proc/1/comm; cat /proc/sys/kernel/domainname; mkdir /x; test -c /dev/mine && echo device; ' +
  'grep Cpus_allowed_list /proc/self/status; ulimit -n; df -h /dev/shm | tail -n 1; sleep 1000';
const EXPECTED = [
  '/dev/pts/0',
  'skep-init',
  'example.org',
  "mkdir: can't create directory '/x': No space left on device",
  'device',
  'Cpus_allowed_list:\t0',
  '77',
  expect.stringMatching(/^tmpfs +2\.0M/),
];

describe.skipIf(!clusterTestsCanRun)('isolation of a service', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-isolation-'));
  const profile = join(dir, 'own.json');
  writeFileSync(profile, JSON.stringify(PROFILE));
  afterAll(() => rmSync(dir, { recursive: true }));
  const shared = useCluster('iso', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  /** What the one task of a service said. */
  async function linesOf(service: string, count: number): Promise<string[]> {
    await shared.current.running(service, 1);
    return eventually(
      'the task said all',
      async () => {
        const text = await shared.current.skep(['service', 'logs', '--raw', service]);
        const lines = text.split('\n').map((line) => line.trimEnd());
        expect(lines.filter((line) => line !== '').length).toBeGreaterThanOrEqual(count);
        return lines.slice(0, count);
      },
      { withinMs: 20_000 },
    );
  }

  test('by the flags of service create', { timeout: 60_000 }, async () => {
    await shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'flags'],
      ...['--tty', '--init', '--domainname', 'example.org', '--security-opt', `seccomp=${profile}`],
      ...['--device', '/dev/null:/dev/mine:rw', '--cpuset-cpus', '0', '--ulimit', 'nofile=77'],
      ...['--shm-size', '2m', IMAGE, 'sh', '-c', SCRIPT],
    ]);
    expect(await linesOf('flags', EXPECTED.length)).toEqual(EXPECTED);
    await shared.current.skep(['service', 'rm', '-d', 'flags']);
  });

  test('by the keys of a stack file', { timeout: 60_000 }, async () => {
    const file = join(dir, 'stack.yml');
    writeFileSync(
      file,
      `services:
  keys:
    image: ${IMAGE}
    command: ["sh", "-c", ${JSON.stringify(SCRIPT)}]
    tty: true
    init: true
    domainname: example.org
    security_opt: ["seccomp:./own.json"]
    devices: ["/dev/null:/dev/mine:rw"]
    cpuset: "0"
    ulimits: {nofile: 77}
    shm_size: 2m
`,
    );
    await shared.current.skep([
      'stack',
      'deploy',
      '--detach',
      '--resolve-image',
      'never',
      '-c',
      file,
      'iso',
    ]);
    expect(await linesOf('iso_keys', EXPECTED.length)).toEqual(EXPECTED);
    await shared.current.skep(['stack', 'rm', 'iso']);
  });

  test('a device that no node has is waited for', { timeout: 60_000 }, async () => {
    const { current } = shared;
    await current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'wants'],
      ...['--device', '/dev/no-such', IMAGE, 'true'],
    ]);
    await eventually(
      'the reason',
      async () => {
        const [only] = await current.tasks('wants');
        expect([only?.current, only?.error]).toEqual([
          'Pending',
          expect.stringMatching(/^"no suitable node \(missing device on \d+ nodes?\)"$/),
        ]);
      },
      { withinMs: 15_000 },
    );
    const why = await current.skep(['service', 'explain', 'wants']);
    expect(why).toMatch(/ no +device: has no \/dev\/no-such$/m);
    await current.skep(['service', 'rm', '-d', 'wants']);
  });

  test('what the node does not have rejects the task by name', { timeout: 60_000 }, async () => {
    await shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'none'],
      // One of those by the number, of which nodes do not tell.
      ...['--restart-condition', 'none', '--device', '/dev/loop250', IMAGE, 'true'],
    ]);
    const task = await eventually(
      'the task is rejected',
      async () => {
        const [only] = await shared.current.tasks('none');
        expect(only?.current).toBe('Rejected');
        return only!;
      },
      { withinMs: 20_000 },
    );
    expect(task.error).toContain('custom device "/dev/loop250": no such file or directory');
    await shared.current.skep(['service', 'rm', '-d', 'none']);
  });
});
