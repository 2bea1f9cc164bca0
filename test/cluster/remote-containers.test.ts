// Containers of other nodes, from any manager: with docker and with skep, and what becomes of it when the node is lost.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CommandOptions, clusterTestsCanRun, eventually, run } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const hasDocker = spawnSync('docker', ['--version']).status === 0;
const hasScript = spawnSync('script', ['--version']).status === 0;
const title = hasDocker
  ? 'a container of another node'
  : 'a container of another node (skipped: docker is not installed)';

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One call of the API over a unix socket. */
function api(socketPath: string, method: string, path: string, json?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const headers = { 'Content-Type': 'application/json' };
    const request = httpRequest({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += String(chunk);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, () => {
  let dir: string;
  let taskId: string;
  let name: string;
  const children: ChildProcess[] = [];
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  const shared = useCluster('remote', { managers: 2, workers: 1 }, async (cluster) => {
    await cluster.image({ name: IMAGE });
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'far'],
      ...['--constraint', 'node.hostname==worker-1', IMAGE],
      ...['sh', '-c', 'i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done'],
    ]);
    const [task] = await cluster.running('far', 1);
    taskId = task!.id;
    name = `far.1.${taskId}`;
  });

  const environment = (host: string) => ({
    DOCKER_HOST: `unix://${shared.current.host(host).socket}`,
    DOCKER_CONFIG: dir,
  });
  const docker = (args: readonly string[], options: CommandOptions & { host?: string } = {}) =>
    run(['docker', ...args], { ...options, env: environment(options.host ?? 'manager-1') });
  const inspected = async (reference: string, host?: string): Promise<string> => {
    const args = ['inspect', '--type', 'container', '--format', '{{.Id}} {{.Name}}', reference];
    const { stdout, stderr } = await docker(args, host ? { host } : {});
    return stdout.trim() || stderr;
  };
  /** A docker that runs on; what it says, and its exit status. */
  const started = (args: readonly string[]) => {
    const child = spawn('docker', args, { env: { ...process.env, ...environment('manager-1') } });
    children.push(child);
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      said.stdout += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      said.stderr += String(chunk);
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    return { said, ended, child };
  };

  test('is inspected by name, id, task and the start of either, on every manager', async () => {
    const whole = await inspected(name);
    expect(whole).toMatch(new RegExp(`^[0-9a-f]{64} /${name}$`));
    const id = whole.slice(0, 64);
    for (const reference of [id, id.slice(0, 12), taskId, taskId.slice(0, 12)]) {
      expect(await inspected(reference, 'manager-2')).toBe(whole);
    }
  });

  test('has paths of files on its own node alone', async () => {
    const fields = ['HostsPath', 'HostnamePath', 'ResolvConfPath'];
    const format = fields.map((field) => `{{.${field}}}`).join('|');
    const args = ['inspect', '--type', 'container', '--format', format, name];
    expect((await docker(args)).stdout.trim()).toBe('||');
    const paths = (await docker(args, { host: 'worker-1' })).stdout.trim().split('|');
    expect(paths.map((path) => basename(path))).toEqual(['hosts', 'hostname', 'resolv.conf']);
    expect(readFileSync(paths[1]!, 'utf8')).toMatch(/^\w+\n$/);
  });

  test('is unknown to a worker that has it not, and to everybody when it is nobody', async () => {
    expect(await inspected('f'.repeat(64))).toContain('No such container');
    const { socket } = shared.current.host('worker-1');
    const answer = await api(socket, 'GET', `/containers/${'f'.repeat(64)}/json`);
    expect(answer.status).toBe(404);
  });

  test('is listed by its node, its id or its task, on every manager; else each node lists its own', async () => {
    const names = async (host: string, ...args: string[]) => {
      const { stdout, stderr } = await docker(['ps', '--format', '{{.Names}}', ...args], { host });
      return stdout.trim() || stderr;
    };
    const id = (await inspected(name)).slice(0, 64);
    for (const host of ['manager-1', 'manager-2']) {
      for (const filter of ['node=worker-1', 'node=*', `id=${id.slice(0, 12)}`, `id=${taskId}`]) {
        expect(await names(host, '--filter', filter), filter).toBe(name);
      }
      expect(await names(host)).toBe('');
      expect(await names(host, '--filter', 'node=self')).toBe('');
      expect(await names(host, '--filter', 'node=nobody')).toContain('node nobody not found');
    }
    // One outside of services is known on its own node alone.
    await docker(['run', '-d', '--name', 'own', IMAGE, 'sleep', '1000'], { host: 'manager-2' });
    expect(await names('manager-1', '--filter', 'node=*')).toBe(name);
    expect(await names('manager-2', '--filter', 'node=*')).toBe(`own\n${name}`);
    expect(await names('manager-2', '--filter', 'node=*', '-n', '1')).toBe('own');
    expect(await names('manager-2', '--filter', 'node=*', '--filter', 'name=^far')).toBe(name);
    const own = ['--filter', 'node=*', '--filter', 'is-task=false'];
    expect(await names('manager-2', ...own)).toBe('own');
    const label = '{{.Label "com.docker.swarm.node.id"}}';
    const row = await docker(['ps', '--filter', 'node=*', '--format', label]);
    const node = await docker(['node', 'inspect', 'worker-1', '--format', '{{.ID}}']);
    expect(row.stdout).toBe(node.stdout);
    await docker(['rm', '-f', 'own'], { host: 'manager-2' });
    const asked = await docker(['ps', '--filter', 'node=worker-1'], { host: 'worker-1' });
    expect(asked.stderr).toContain('This node is not a swarm manager');
  });

  test('is paused, waited for and killed from any manager', { timeout: 30_000 }, async () => {
    await shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'victim'],
      ...['--constraint', 'node.hostname==worker-1', IMAGE, 'sleep', '1000'],
    ]);
    const [task] = await shared.current.running('victim', 1);
    for (const [verb, state] of [
      ['pause', 'paused'],
      ['unpause', 'running'],
    ] as const) {
      expect((await docker([verb, task!.id])).code).toBe(0);
      const status = ['inspect', '--type', 'container', '-f', '{{.State.Status}}', task!.id];
      expect((await docker(status)).stdout.trim()).toBe(state);
    }
    const waits = docker(['wait', task!.id], { host: 'manager-2' });
    await eventually(
      'the wait',
      () => expect(shared.timesBegun('POST', `/containers/${task!.id}/wait`)).toBe(1),
      { withinMs: 10_000 },
    );
    expect((await docker(['rm', '-f', task!.id])).code).toBe(0);
    expect((await waits).stdout).toBe('137\n');
    await eventually(
      'the next task',
      async () => {
        const [next] = await shared.current.running('victim', 1);
        expect(next!.id).not.toBe(task!.id);
      },
      { withinMs: 20_000 },
    );
    await shared.current.skep(['service', 'rm', '-d', 'victim']);
  });

  test('runs commands: status, both outputs, input, environment', async () => {
    const failing = await docker(['exec', name, 'sh', '-c', 'echo out; echo no >&2; exit 7']);
    expect([failing.code, failing.stdout, failing.stderr]).toEqual([7, 'out\n', 'no\n']);
    const input = 'quiet\n'.repeat(100_000);
    const filter = await docker(['exec', '-i', name, 'tr', 'a-z', 'A-Z'], { input });
    expect(filter.stdout === input.toUpperCase(), filter.stderr).toBe(true);
    const missing = await docker(['exec', name, 'no-such-program']);
    expect([missing.code, missing.stdout]).toEqual([127, '']);
    expect(missing.stderr).toContain('no-such-program');
    const user = await docker(['exec', '-u', 'nobody', name, 'id', '-un']);
    expect([user.code, user.stdout], user.stderr).toEqual([0, 'nobody\n']);
    const nobody = await docker(['exec', '-u', 'who', name, 'id']);
    expect([nobody.code, nobody.stderr]).toEqual([
      126,
      expect.stringContaining('unable to find user who: no matching entries in passwd file'),
    ]);
    const { stdout } = await docker([
      'exec',
      '-e',
      'A=1',
      '-w',
      '/tmp',
      name,
      'sh',
      '-c',
      'echo $A $PWD',
    ]);
    expect(stdout).toBe('1 /tmp\n');
  });

  test('runs a command that one manager made and another one starts', async () => {
    const [one, other] = shared.current.managers;
    const made = await api(one!.socket, 'POST', `/containers/${name}/exec`, {
      Cmd: ['sh', '-c', 'exit 5'],
    });
    expect(made.status, made.body).toBe(201);
    const { Id } = JSON.parse(made.body) as { Id: string };
    const ran = await api(other!.socket, 'POST', `/exec/${Id}/start`, { Detach: true });
    expect(ran.status, ran.body).toBe(200);
    await eventually(
      'the exit status on the first manager',
      async () => {
        const { body } = await api(one!.socket, 'GET', `/exec/${Id}/json`);
        expect(JSON.parse(body)).toMatchObject({ Running: false, ExitCode: 5 });
      },
      { withinMs: 5000 },
    );
  });

  test.skipIf(!hasScript)('gives a command a terminal of the size of ours', async () => {
    const inner = `stty rows 33 cols 77; docker exec -it ${name} sh -c 'sleep 0.5; stty size; exit 4'`;
    const result = await run(['script', '-qec', inner, '/dev/null'], {
      env: { ...environment('manager-1'), TERM: 'xterm' },
    });
    expect(result.stdout).toContain('33 77');
    expect(result.code).toBe(4);
  });

  test('tells its output as it comes', async () => {
    const { said, ended, child } = started(['logs', '-f', '--tail', '1', name]);
    await eventually('lines', () => expect(said.stdout.split('\n').length).toBeGreaterThan(5), {
      withinMs: 10_000,
    });
    child.kill('SIGINT');
    await ended;
    expect(said.stderr).toBe('');
  });

  test('has its files copied in and out', async () => {
    const content = 'x'.repeat(3_000_000);
    writeFileSync(join(dir, 'in'), content);
    const copied = await docker(['cp', join(dir, 'in'), `${name}:/tmp/there`]);
    expect(copied.code, copied.stderr).toBe(0);
    expect((await docker(['exec', name, 'wc', '-c', '/tmp/there'])).stdout).toMatch(/^3000000 /);
    const back = await docker(['cp', `${name}:/tmp/there`, join(dir, 'out')]);
    expect(back.code, back.stderr).toBe(0);
    expect(readFileSync(join(dir, 'out'), 'utf8') === content).toBe(true);
  });

  test('shows its processes and what it uses', async () => {
    expect((await docker(['top', name])).stdout).toContain('sleep 0.2');
    const usage = await docker(['stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', name]);
    expect(usage.stdout, usage.stderr).toMatch(new RegExp(`^${name} \\d+\n$`));
  });

  test('is attached to', async () => {
    const { said, ended, child } = started(['attach', '--no-stdin', '--sig-proxy=false', name]);
    await eventually('lines', () => expect(said.stdout.split('\n').length).toBeGreaterThan(3), {
      withinMs: 10_000,
    });
    child.kill('SIGKILL');
    await ended;
    expect(said.stdout).toMatch(/^line \d+\n/);
  });

  test('answers skep as well', async () => {
    const { code, stdout } = await shared.current.try(
      ['exec', name, 'sh', '-c', 'hostname; exit 3'],
      {
        host: 'manager-2',
      },
    );
    expect([code, stdout.length > 0]).toEqual([3, true]);
    expect(await shared.current.skep(['logs', '--tail', '1', name])).toMatch(/^line \d+\n$/);
  });

  test('is found by its service', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const one = await cluster.try([
      'service',
      'exec',
      'far.1',
      '--',
      'sh',
      '-c',
      'echo $0; exit 6',
    ]);
    expect([one.code, one.stdout, one.stderr]).toEqual([6, 'sh\n', '']);
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'every'],
      ...['--mode', 'global', '--hostname', '{{.Node.Hostname}}', IMAGE, 'sleep', '1000'],
    ]);
    await cluster.running('every', 3);
    const all = await cluster.try(['service', 'exec', '--all', 'every', '--', 'hostname'], {
      host: 'manager-2',
    });
    expect(all.stdout.trimEnd().split('\n').sort()).toEqual([
      'every.manager-1 | manager-1',
      'every.manager-2 | manager-2',
      'every.worker-1  | worker-1',
    ]);
    expect([all.code, all.stderr]).toEqual([0, '']);
    await cluster.skep(['service', 'rm', '-d', 'every']);
  });

  test('ends for its clients with an error when the daemon of its node is killed', {
    timeout: 60_000,
  }, async () => {
    const exec = started(['exec', name, 'sh', '-c', 'echo begun; sleep 1000']);
    await eventually('the command runs', () => expect(exec.said.stdout).toBe('begun\n'), {
      withinMs: 10_000,
    });
    const killedMs = performance.now();
    await shared.current.dev('kill', 'worker-1');
    expect(await exec.ended).toBe(1);
    expect(exec.said.stderr).toMatch(/^Error response from daemon: .*node worker-1/);
    expect(performance.now() - killedMs).toBeLessThan(15_000);
    const later = await docker(['inspect', '--type', 'container', name]);
    expect(later.code).toBe(1);
    expect(later.stderr).toMatch(/^Error.*node worker-1/);
    await shared.current.dev('start', 'worker-1');
  });

  test('ends for its clients when the link of its node is cut', { timeout: 60_000 }, async () => {
    const [task] = await shared.current.running('far', 1);
    const exec = started(['exec', `far.1.${task!.id}`, 'sh', '-c', 'echo begun; sleep 1000']);
    await eventually('the command runs', () => expect(exec.said.stdout).toBe('begun\n'), {
      withinMs: 10_000,
    });
    await shared.current.dev('cut', 'worker-1');
    // A silent peer is given up after 9 s; then the client asks for the exit code in vain.
    expect(await exec.ended).toBe(1);
    expect(exec.said.stderr).not.toBe('');
    await shared.current.dev('heal', 'worker-1');
  });

  shared.testAnswers(10);
});
