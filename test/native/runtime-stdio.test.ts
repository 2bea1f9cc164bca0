import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OciProcess, OciSpec } from '../../worker/runtime/oci.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SIGTERM = 15;

function withProcess(change: Partial<OciProcess>) {
  return (spec: OciSpec): OciSpec => ({ ...spec, process: { ...spec.process, ...change } });
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: the streams of a container', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  test('a terminal is its three streams, its console and its controlling terminal', async () => {
    const { lines, exit } = await box.output(
      'tty',
      'tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo to console > /dev/console; ' +
        'echo to tty > /dev/tty; stat -c %u /dev/pts/0; exit 3',
      withProcess({ terminal: true, user: { uid: 7, gid: 7, additionalGids: [] } }),
    );
    expect(lines.map((line) => line.trimEnd())).toEqual([
      '/dev/pts/0',
      'all',
      'to console',
      'to tty',
      '7',
    ]);
    expect(exit.exitCode).toBe(3);
  });

  test('what is typed when attached reaches it, its answer and its log both have all', async () => {
    await box.create(
      'typed',
      ['sh', '-c', 'stty -echo; echo ready; read x; stty size; echo "got $x"; exit 4'],
      withProcess({ terminal: true }),
    );
    const session = await box.runtime.attach('typed');
    session.stderr.resume();
    await box.runtime.startContainer('typed');
    await box.runtime.resize('typed', 33, 111);
    let text = '';
    for await (const chunk of session.stdout) {
      text += chunk;
      if (text.endsWith('ready\r\n')) session.stdin.write('hello\r');
    }
    expect(text).toBe('ready\r\n33 111\r\ngot hello\r\n');
    expect(await box.runtime.wait('typed')).toMatchObject({ exitCode: 4 });
    expect(await box.logText('typed')).toBe(text.trimEnd());
  });

  test('a terminal that all have left has no size', { timeout: 40_000 }, async () => {
    const leave = 'trap "" HUP; exec sleep 100 <&- >&- 2>&-';
    await box.run('left', leave, withProcess({ terminal: true }));
    const size = () => box.runtime.resize('left', 1, 1).catch((err: Error) => err);
    await expect.poll(size, { timeout: 20_000 }).toMatchObject({
      code: 'conflict',
      message: 'resize container left: it has left its terminal',
    });
    await box.runtime.killAll('left');
  });

  test('an interrupt typed at its terminal reaches its foreground group', async () => {
    await box.create(
      'interrupt',
      ['sh', '-c', 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.05; done'],
      withProcess({ terminal: true }),
    );
    const session = await box.runtime.attach('interrupt');
    session.stderr.resume();
    await box.runtime.startContainer('interrupt');
    for await (const chunk of session.stdout) if (`${chunk}`.includes('ready')) break;
    session.stdin.write('\x03');
    expect(await box.runtime.wait('interrupt')).toMatchObject({ exitCode: 9 });
  });

  test('without an open input it reads its end at once', async () => {
    const { text } = await box.output('no-input', 'cat; echo end');
    expect(text).toBe('end');
  });

  test('an open input waits for who attaches, and ends when that one ends it', async () => {
    await box.create('input', ['wc', '-c'], withProcess({ openStdin: true }));
    await box.runtime.startContainer('input');
    const first = await box.runtime.attach('input');
    first.stdin.write('12345');
    await new Promise((resolve) => first.stdin.write('', resolve));
    first.close(); // lets go: the input stays open
    expect(box.runtime.get('input')?.status).toBe('running');
    const second = await box.runtime.attach('input');
    const bytes = 2_000_000;
    second.stdin.end(Buffer.alloc(bytes));
    second.stderr.resume();
    expect(await textOf(second.stdout)).toBe(`${bytes + 5}\n`);
  });

  test('everyone attached sees both outputs apart, to the last byte', async () => {
    await box.create(
      'both',
      ['sh', '-c', 'read x; yes out | head -n 60000; echo err >&2'],
      (spec) => withProcess({ openStdin: true })(spec),
    );
    const sessions = await Promise.all([box.runtime.attach('both'), box.runtime.attach('both')]);
    await box.runtime.startContainer('both');
    sessions[0]?.stdin.write('go\n');
    const texts = await Promise.all(
      sessions.flatMap(({ stdout, stderr }) => [textOf(stdout), textOf(stderr)]),
    );
    const out = 'out\n'.repeat(60_000);
    expect(texts).toEqual([out, 'err\n', out, 'err\n']);
  });

  test('who is attached and does not read holds it up, and is cut off', {
    timeout: 40_000,
  }, async () => {
    await box.create('stalled', ['sh', '-c', 'yes | head -c 4000000; echo done > /end; sleep 100']);
    await box.runtime.attach('stalled'); // never reads
    await box.runtime.startContainer('stalled');
    const cat = async () => {
      const session = await box.runtime.exec('stalled', execSpec(['cat', '/end']));
      return (await execResult(session)).stdout;
    };
    expect(await cat()).toBe('');
    await expect.poll(cat, { timeout: 30_000, interval: 500 }).toBe('done\n');
    await box.runtime.killAll('stalled');
  });

  test('cannot be attached to after its end, or resized without a terminal', async () => {
    await box.run('plain', 'sleep 100');
    await expect(box.runtime.resize('plain', 1, 1)).rejects.toMatchObject({ code: 'conflict' });
    await box.runtime.killAll('plain');
    await expect(box.runtime.attach('plain')).rejects.toMatchObject({ code: 'conflict' });
  });

  describe('with an init', () => {
    const init = withProcess({ init: true });

    test('pid 1 is ours and the command its child, with the same rights', async () => {
      const { lines } = await box.output(
        'init',
        'echo $$ $PPID; cat /proc/1/comm; tr "\\0" " " < /proc/1/cmdline; echo; ' +
          'grep -h -e CapEff -e Seccomp: -e NoNewPrivs /proc/1/status /proc/self/status | sort -u | wc -l; ' +
          'ls /proc/1/fd | wc -l',
        init,
      );
      expect(lines[0]).toBe('2 1');
      expect(lines[1]).toBe('skep-init');
      expect(lines[2]).toMatch(/^skep-init -- sh -c /);
      expect(lines[3]).toBe('3');
      expect(lines[4]).toBe('3'); // no descriptor of the host's but its streams
    });

    test('orphans are reaped, which a command as pid 1 may not do', async () => {
      const zombies = async (id: string) => {
        const script = 'ps -o stat,args | grep -c "^Z.*sleep"';
        const session = await box.runtime.exec(id, execSpec(['sh', '-c', script]));
        return Number((await execResult(session)).stdout);
      };
      const script = 'sh -c "sleep 0.1 & sleep 0.2 &"; exec sleep 100';
      await box.run('no-init', script);
      await expect.poll(() => zombies('no-init')).toBe(2);
      await box.run('orphans', script, init);
      await expect
        .poll(async () => (await box.runtime.stats('orphans')).pids, { timeout: 5000 })
        .toBe(2);
      expect(await zombies('orphans')).toBe(0);
      await box.runtime.killAll('no-init');
      await box.runtime.killAll('orphans');
    });

    test('signals are passed on, and the end is the command’s', async () => {
      await box.run(
        'signals',
        'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done',
        init,
      );
      await expect.poll(() => box.logText('signals')).toContain('ready');
      await box.runtime.signal('signals', SIGTERM);
      expect(await box.runtime.wait('signals')).toMatchObject({ exitCode: 7, signal: 0 });
      await box.run('default-action', 'echo ready; exec sleep 100', init);
      await expect.poll(() => box.logText('default-action')).toContain('ready');
      await box.runtime.signal('default-action', SIGTERM); // a pid 1 of its own would ignore it
      expect(await box.runtime.wait('default-action')).toMatchObject({ exitCode: 143 });
    });

    test('a command that cannot be run is told as without one', async () => {
      await box.create('not-there', ['nope'], init);
      await expect(box.runtime.startContainer('not-there')).rejects.toMatchObject({
        exitCode: 127,
        message: expect.stringContaining('"nope": executable file not found in $PATH'),
      });
      expect(await box.runtime.wait('not-there')).toMatchObject({ exitCode: 127 });
    });

    test('what is typed at a terminal reaches the command once', async () => {
      await box.create(
        'init-tty',
        ['sh', '-c', 'trap "echo caught" INT; echo ready; read x; sleep 0.2; exit 5'],
        withProcess({ init: true, terminal: true }),
      );
      const session = await box.runtime.attach('init-tty');
      session.stderr.resume();
      await box.runtime.startContainer('init-tty');
      let text = '';
      for await (const chunk of session.stdout) {
        const before = text;
        text += chunk;
        if (!before.includes('ready') && text.includes('ready')) session.stdin.write('\x03');
        if (!before.includes('caught') && text.includes('caught')) session.stdin.write('x\r');
      }
      expect(text.split('caught').length).toBe(2);
      expect(await box.runtime.wait('init-tty')).toMatchObject({ exitCode: 5 });
    });

    test('its program cannot be written through, and no host path is seen in it', async () => {
      const { text } = await box.output(
        'init-exe',
        'readlink /proc/1/exe; (echo x >> /proc/1/exe) 2>&1; cat /proc/1/environ | tr "\\0" "\\n" | grep -c /var/',
        init,
      );
      expect(text).toContain('memfd:skep-shim');
      expect(text).toMatch(/Operation not permitted|Text file busy|Permission denied/);
      expect(text.split('\n').at(-1)).toBe('0');
    });
  });
});
