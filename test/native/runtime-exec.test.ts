import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SIGKILL = 9;

describe.skipIf(!runtimeTestsCanRun)('native runtime: exec', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
    await box.run('main', 'echo inside > /tmp/marker; sleep 1000', (spec) => ({
      ...spec,
      process: {
        ...spec.process,
        env: [...spec.process.env, 'A=1', 'B=2', 'HOME=/root'],
        cwd: '/tmp',
      },
    }));
  });
  afterAll(async () => {
    await box.runtime.killAll('main');
    await box.close();
  });

  const run = async (args: string[], change = {}) =>
    execResult(await box.runtime.exec('main', execSpec(args, change)));

  test('separates output and error and gives the exit code', async () => {
    const result = await run(['sh', '-c', 'echo out; echo err >&2; exit 5']);
    expect(result).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 5 });
  });

  test('runs in the container: its files, processes, environment, directory, limits', async () => {
    const { stdout } = await run(
      [
        'sh',
        '-c',
        'cat marker; echo $A$B$C; pwd; ps -o args | grep -c "sleep 1000"; cat /proc/self/cgroup; grep CapBnd /proc/self/status',
      ],
      { env: ['B=3', 'C=4'] },
    );
    const lines = stdout.trimEnd().split('\n');
    expect(lines.slice(0, 3)).toEqual(['inside', '134', '/tmp']);
    expect(Number(lines[3])).toBeGreaterThanOrEqual(1);
    expect(lines.find((line) => line.includes(':memory:') || line.startsWith('0::'))).toMatch(
      /:\/$/,
    );
    expect(lines.at(-1)).toBe('CapBnd:\t00000000a80425fb');
  });

  test('can have another user, directory, and every capability', async () => {
    const { stdout } = await run(['sh', '-c', 'id -u; id -g; pwd'], { user: '7:8', cwd: '/etc' });
    expect(stdout).toBe('7\n8\n/etc\n');
    const privileged = await run(['grep', 'CapEff', '/proc/self/status'], { privileged: true });
    expect(privileged.stdout).not.toContain('00000000a80425fb');
  });

  test('finds users by the files of the container as they are now, with their home', async () => {
    await run(['sh', '-c', 'echo late:x:77:88::/home/late:/bin/sh >> /etc/passwd']);
    const { stdout } = await run(['sh', '-c', 'id -u; id -g; echo $HOME'], { user: 'late' });
    expect(stdout).toBe('77\n88\n/home/late\n');
    const own = await run(['sh', '-c', 'echo $HOME'], { user: 'late', env: ['HOME=/own'] });
    expect(own.stdout).toBe('/own\n');
    await expect(run(['true'], { user: 'nobody-there' })).rejects.toMatchObject({
      code: 'invalid-argument',
      message: 'unable to find user nobody-there: no matching entries in passwd file',
    });
  });

  test('looks for users in the container, whatever its links point at', async () => {
    await run(['sh', '-c', 'mv /etc/passwd /etc/kept; ln -s /proc/1/root/etc/kept /etc/passwd']);
    const { stdout } = await run(['id', '-u'], { user: 'late' });
    await run(['sh', '-c', 'rm /etc/passwd; mkfifo /etc/passwd']);
    const blocked = run(['id', '-u'], { user: 'late' });
    await expect(blocked).rejects.toMatchObject({ code: 'invalid-argument' });
    await run(['sh', '-c', 'rm /etc/passwd; mv /etc/kept /etc/passwd']);
    expect(stdout).toBe('77\n');
  });

  test("without input it has the container's /dev/null, not the host's", async () => {
    const { stdout } = await run(['stat', '-L', '-c', '%d:%i', '/dev/stdin', '/dev/null']);
    const [input, own] = stdout.trim().split('\n');
    expect(input).toBe(own);
  });

  test('passes a large standard input through, and its end', async () => {
    const session = await box.runtime.exec('main', execSpec(['wc', '-c'], { stdin: true }));
    const bytes = 3_000_000;
    session.stdin.end(Buffer.alloc(bytes, 'x'));
    expect(await execResult(session)).toMatchObject({ stdout: `${bytes}\n`, exitCode: 0 });
  });

  test('passes a large output through, to a reader that is slow', async () => {
    const args = ['dd', 'if=/dev/zero', 'bs=1000', 'count=3000'];
    const session = await box.runtime.exec('main', execSpec(args));
    session.stderr.resume();
    let bytes = 0;
    for await (const chunk of session.stdout) {
      bytes += chunk.length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(bytes).toBe(3_000_000);
    expect(await session.wait()).toEqual({ exitCode: 0 });
  });

  test('many at once each get their own end', async () => {
    const codes = Array.from({ length: 20 }, (_, i) => i);
    const results = await Promise.all(
      codes.map((code) => run(['sh', '-c', `echo ${code}; exit ${code}`])),
    );
    expect(results.map((result) => result.exitCode)).toEqual(codes);
    expect(results.map((result) => result.stdout.trim())).toEqual(codes.map(String));
  });

  test('can be signalled, though it does not read its input', async () => {
    const session = await box.runtime.exec('main', execSpec(['sleep', '1000'], { stdin: true }));
    session.stdin.write(Buffer.alloc(300_000));
    await session.kill(SIGKILL);
    session.stdout.resume();
    session.stderr.resume();
    expect(await session.wait()).toEqual({ exitCode: 137 });
  });

  test('has a terminal of the container when asked, with a size and job control', async () => {
    const args = [
      'sh',
      '-c',
      'tty; test -t 0 && test -t 1 && test -t 2 && echo all; read x; stty size; echo "got $x"; exit 4',
    ];
    const user = '7:8';
    const session = await box.runtime.exec('main', execSpec(args, { tty: true, user }));
    session.stderr.resume();
    await session.resize(33, 111);
    let shown = '';
    for await (const chunk of session.stdout) {
      const isAsked = shown.includes('all\r\n');
      shown += String(chunk);
      // Not before: its echo could come into the middle of a line.
      if (!isAsked && shown.includes('all\r\n')) session.stdin.write('hello\r');
    }
    const lines = shown.trimEnd().split('\r\n');
    expect(lines).toEqual(['/dev/pts/0', 'all', 'hello', '33 111', 'got hello']);
    expect((await session.wait()).exitCode).toBe(4);
    await expect(session.resize(1, 1)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('has a terminal of the size that was asked for from the beginning', async () => {
    const consoleSize = [33, 77] as const;
    for (let i = 0; i < 10; i++) {
      const spec = execSpec(['stty', 'size'], { tty: true, consoleSize });
      const session = await box.runtime.exec('main', spec);
      session.stderr.resume();
      expect((await execResult(session)).stdout).toBe('33 77\r\n');
    }
  });

  test('an interrupt typed at the terminal reaches the command', async () => {
    const session = await box.runtime.exec('main', execSpec(['sleep', '1000'], { tty: true }));
    session.stdin.write('\x03');
    expect(await execResult(session)).toMatchObject({ exitCode: 130 });
  });

  test.each([0, 300_000])(
    'is killed when its session is closed, with %i bytes unread',
    async (bytes) => {
      const session = await box.runtime.exec('main', execSpec(['sleep', '999'], { stdin: true }));
      session.stdin.write(Buffer.alloc(bytes));
      const before = (await box.runtime.stats('main')).pids;
      session.close();
      await expect.poll(async () => (await box.runtime.stats('main')).pids).toBeLessThan(before);
    },
  );

  test('ends without its background child, which keeps the output open', async () => {
    const result = await run(['sh', '-c', 'sleep 3 & echo done']);
    expect(result).toEqual({ stdout: 'done\n', stderr: '', exitCode: 0 });
  });

  test.each([
    [['nope'], 127, 'exec: exec: "nope": executable file not found in $PATH'],
    [['/etc/passwd'], 126, 'exec: exec: "/etc/passwd": permission denied'],
  ])('says why %j cannot be run', async (args, exitCode, message) => {
    await expect(box.runtime.exec('main', execSpec(args))).rejects.toMatchObject({
      exitCode,
      message,
    });
  });

  test.each([
    ['/none', 'exec: chdir to cwd ("/none"): no such file or directory'],
    ['/etc/passwd', 'exec: chdir to cwd ("/etc/passwd"): not a directory'],
  ])('says that it cannot run in %s', async (cwd, message) => {
    const spec = { ...execSpec(['true']), cwd };
    await expect(box.runtime.exec('main', spec)).rejects.toMatchObject({
      code: 'invalid-argument',
      exitCode: 127,
      message,
    });
  });

  test('is refused when the container does not run', async () => {
    await box.create('idle', ['true']);
    await expect(box.runtime.exec('idle', execSpec(['true']))).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('ends with the container', async () => {
    await box.run('short', 'sleep 1000');
    const session = await box.runtime.exec('short', execSpec(['sleep', '1000']));
    session.stdout.resume();
    session.stderr.resume();
    const end = session.wait();
    await box.runtime.killAll('short');
    expect(await end).toEqual({ exitCode: 137 });
  });
});
