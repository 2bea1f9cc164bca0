import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile } from 'node:fs/promises';
import { PassThrough, Readable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Configure, ExitError, refuseFlags } from '../../../cli/commands/context.ts';
import { runCommand } from '../../../cli/run.ts';

async function run(configure: Configure, rest: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const status = await runCommand(
    {
      ...{ words: 'skep try', path: 'service ls', rest },
      entry: { summary: 'Try it', load: async () => configure },
    },
    {
      address: () => ({ host: 'unix:///nowhere.sock', tls: null }),
      stdout,
      stderr,
      stdin: () => Readable.from([]),
      env: {},
      cwd: '/',
      signal: new AbortController().signal,
      takeSignals: () => () => {},
    },
  );
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  return { status, stdout: text(stdout), stderr: text(stderr) };
}

/** Prints its operands and flags. */
const echo =
  (passThrough: boolean): Configure =>
  (command, context) => {
    if (passThrough) command.passThroughOptions();
    refuseFlags(command, { '--isolation': 'it is a Windows feature' });
    command
      .argument('[words...]')
      .option('-d, --detach', 'not now', true)
      .option('-q, --quiet')
      .option('--name <name>')
      .action((words, flags) => {
        context.stdout.write(JSON.stringify([words, flags]));
      });
  };

describe('running a command', () => {
  test.each([
    [
      ['a', '--detach=false', 'b'],
      [['a', 'b'], { detach: false }],
    ],
    [
      ['-q=true', '-d=0'],
      [[], { detach: false, quiet: true }],
    ],
    [
      ['--name=--detach=false', 'a'],
      [['a'], { detach: true, name: '--detach=false' }],
    ],
    [
      ['--name', '-d=x', 'a'],
      [['a'], { detach: true, name: '-d=x' }],
    ],
    [
      ['--', '--detach=false'],
      [['--detach=false'], { detach: true }],
    ],
  ])('flags among operands: %j', async (args, expected) => {
    const { status, stdout } = await run(echo(false), args);
    expect([status, JSON.parse(stdout)]).toEqual([0, expected]);
  });

  test.each([
    [
      ['-q', 'prog', '--detach=false', '-q'],
      [['prog', '--detach=false', '-q'], { detach: true, quiet: true }],
    ],
    [
      ['--name', 'n', '--detach=false', 'prog', '-x'],
      [['prog', '-x'], { detach: false, name: 'n' }],
    ],
  ])('flags that end at the first operand: %j', async (args, expected) => {
    const { status, stdout } = await run(echo(true), args);
    expect([status, JSON.parse(stdout)]).toEqual([0, expected]);
  });

  test.each([
    [['--no-trunc'], false],
    [['--no-trunc=true'], false],
    [['--no-trunc=false'], true],
  ])('a flag that says no means it when it is true: %j', async (args, expected) => {
    const lists: Configure = (command, context) => {
      command.option('--no-trunc').action(({ trunc }) => {
        context.stdout.write(JSON.stringify(trunc));
      });
    };
    expect((await run(lists, args)).stdout).toBe(String(expected));
  });

  test.each([
    [['--wings'], 125, /^unknown flag: --wings\n\nRun 'skep try --help'/],
    [['--detach=maybe'], 125, /invalid argument "maybe" for "--detach" flag/],
    [['--name'], 125, /argument missing/],
    [['--isolation', 'hyperv'], 125, /^try: --isolation is refused: it is a Windows feature\n/],
    [['--isolation=x'], 125, /: --isolation is refused: it is a Windows feature\n/],
    [['--isolation'], 125, /: --isolation is refused: it is a Windows feature\n/],
  ])('%j ends with its own status', async (args, status, words) => {
    expect(await run(echo(false), args)).toEqual({
      status,
      stdout: '',
      stderr: expect.stringMatching(words),
    });
  });

  test('help is no error', async () => {
    const { status, stdout, stderr } = await run(echo(false), ['--help']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/Usage: skep try/);
    expect(stdout).toMatch(/\nExamples:\n {2}# All services\n {2}skep service ls\n\n {2}# /);
  });

  test.each([access, readFile])('a file that is not there is named: %o', async (call) => {
    const reads: Configure = (command) => {
      command.action(async () => {
        await call('/no/such/file');
      });
    };
    expect(await run(reads, [])).toEqual({
      status: 1,
      stdout: '',
      stderr: 'open /no/such/file: no such file or directory\n',
    });
  });

  test("a command's own status and errors come out", async () => {
    const ends: Configure = (command) => {
      command.action(() => {
        throw new ExitError(7);
      });
    };
    expect(await run(ends, [])).toEqual({ status: 7, stdout: '', stderr: '' });
    const asks: Configure = (command, context) => {
      command.action(async () => {
        await context.client.version();
      });
    };
    expect(await run(asks, [])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /^Cannot connect to the skep daemon at unix:\/\/\/nowhere.sock/,
      ),
    });
  });
});

test('what a command prints into a pipe arrives whole, also what the pipe cannot hold', async () => {
  const content = 'x'.repeat(2_000_000);
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', 'cli/main.ts', 'stack', 'config', '-c', '-'],
    { cwd: fileURLToPath(new URL('../../../', import.meta.url)) },
  );
  const ended = once(child, 'exit');
  child.stdin.end(`services: {a: {image: a}}\nconfigs: {c: {content: "${content}"}}\n`);
  const text = await readText(child.stdout);
  expect(await ended).toEqual([0, null]);
  expect(text).toBe(`services:\n  a:\n    image: a\nconfigs:\n  c:\n    content: ${content}\n`);
});
