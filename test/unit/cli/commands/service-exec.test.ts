import { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { serviceExec, stackExec } from '../../../../cli/commands/service-exec.ts';
import { containerIdOf } from '../../../../common/model/container-id.ts';
import { frame } from '../../../../daemon/engineapi/frames.ts';
import { idOf } from '../../../support/builders.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

interface Ran {
  readonly container: string;
  readonly request: object;
  input: string;
}

interface Task {
  readonly ID: string;
  readonly Slot?: number;
  readonly NodeID: string;
  readonly Status: { readonly State: string };
}

const running = { State: 'running' };
const WEB: readonly Task[] = [
  { ID: idOf('tasktwo'), Slot: 2, NodeID: 'n1', Status: running },
  { ID: idOf('taskone'), Slot: 1, NodeID: 'n2', Status: running },
  { ID: idOf('taskten'), Slot: 10, NodeID: 'n1', Status: { State: 'starting' } },
];
const AGENT: readonly Task[] = ['n2', 'n1'].map((NodeID) => ({
  ID: idOf(`task${NodeID}`),
  NodeID,
  Status: running,
}));
const NODES = [
  { ID: 'n1', Description: { Hostname: 'alpha.example' } },
  { ID: 'n2', Description: { Hostname: 'beta' } },
];
const containerOf = (task: Task): string =>
  containerIdOf(task.ID as Parameters<typeof containerIdOf>[0]);

/** An engine whose commands say their container's place among `tasks`, and end with that as their status. */
function engine(tasks: readonly Task[], output: (place: number) => readonly Buffer[]) {
  const ran: Ran[] = [];
  const fake: FakeEngine = {
    service: async (ref: string) => {
      if (!['web', 'agent', 'shop_web'].includes(ref))
        throw new ApiError(404, `service ${ref} not found`);
      return { ID: `id-of-${ref}`, Spec: { Name: ref } };
    },
    tasks: async (filters: object) => {
      expect(filters).toEqual({
        service: [expect.stringMatching(/^id-of-/)],
        'desired-state': ['running'],
      });
      return tasks;
    },
    nodes: async () => NODES,
    execCreate: async (container: string, request: object) => {
      ran.push({ container, request, input: '' });
      return { Id: String(ran.length - 1) };
    },
    execAttach: async (id: string) => {
      const place = tasks.findIndex((task) => containerOf(task) === ran[Number(id)]!.container);
      const chunks = [...output(place)];
      const socket = new Duplex({
        read() {
          this.push(chunks.shift() ?? null);
        },
        write(chunk, _encoding, done) {
          ran[Number(id)]!.input += String(chunk);
          done();
        },
      });
      return { socket, head: Buffer.alloc(0), contentType: '' };
    },
    execInspect: async (id: string) => ({
      ExitCode: tasks.findIndex((task) => containerOf(task) === ran[Number(id)]!.container),
      Running: false,
    }),
  };
  return { fake, ran };
}

const says = (text: string) => (place: number) => [
  frame('stdout', Buffer.from(`${text} ${place}\n`)),
];

describe('skep service exec', () => {
  test('runs in the task of the lowest slot, and ends with the status of the command', async () => {
    const { fake, ran } = engine(WEB, says('task'));
    const argv = ['-e', 'A=1', '-u', 'www', '-w', '/srv', 'web', '--', 'sh', '-c', 'exit'];
    const result = await runCommand(serviceExec, argv, { engine: fake });
    expect(result).toEqual({ status: 1, stdout: 'task 1\n', stderr: '' });
    expect(ran).toMatchObject([
      {
        container: containerOf(WEB[1]!),
        request: { Cmd: ['sh', '-c', 'exit'], Env: ['A=1'], User: 'www', WorkingDir: '/srv' },
      },
    ]);
  });

  test('takes its own flags before and after the name, up to --', async () => {
    const { fake, ran } = engine(WEB, says('task'));
    const argv = ['web.2', '-i', '--', 'cat', '-i'];
    const result = await runCommand(serviceExec, argv, { engine: fake, stdin: 'words' });
    expect(result).toEqual({ status: 0, stdout: 'task 0\n', stderr: '' });
    expect(ran).toMatchObject([
      { container: containerOf(WEB[0]!), request: { Cmd: ['cat', '-i'], AttachStdin: true } },
    ]);
  });

  test.each(['agent.alpha.example', 'agent.n1'])('%s is the task on a node', async (ref) => {
    const { fake, ran } = engine(AGENT, says('task'));
    await runCommand(serviceExec, [ref, 'true'], { engine: fake });
    expect(ran.map(({ container }) => container)).toEqual([containerOf(AGENT[1]!)]);
  });

  test.each([
    [['none', 'true'], 'no such service: none'],
    [['web.3', 'true'], 'web.3 has no running task'],
    [['web.10', 'true'], 'web.10 has no running task'],
    [['--all', 'agent.gamma', 'true'], 'agent.gamma has no running task'],
    [
      ['--all', '-i', 'web', 'true'],
      '--all passes neither input nor a terminal on: leave -i and -t out',
    ],
    [['-it', 'web', 'true'], 'the input device is not a TTY'],
  ])('%j fails with words', async (argv, words) => {
    const { fake, ran } = engine(argv.join().includes('agent') ? AGENT : WEB, says('task'));
    const result = await runCommand(serviceExec, argv, { engine: fake });
    expect(result).toEqual({ status: 1, stdout: '', stderr: `${words}\n` });
    expect(ran).toEqual([]);
  });
});

describe('skep service exec --all', () => {
  test('runs in every running task, names each line, ends with the highest status', async () => {
    const { fake } = engine(WEB, (place) => [
      frame('stdout', Buffer.from('be')),
      frame('stdout', Buffer.from(`gun ${place}\nleft`)),
      frame('stderr', Buffer.from('no\n')),
    ]);
    const result = await runCommand(serviceExec, ['--all', 'web', 'true'], { engine: fake });
    expect(result.status).toBe(1);
    expect(result.stdout.trimEnd().split('\n').sort()).toEqual([
      'web.1 | begun 1',
      'web.1 | left',
      'web.2 | begun 0',
      'web.2 | left',
    ]);
    expect(result.stderr.trimEnd().split('\n').sort()).toEqual(['web.1 | no', 'web.2 | no']);
  });

  test('tells a task that cannot be reached by its name, and goes on with the others', async () => {
    const { fake } = engine(AGENT, says('task'));
    const { execCreate } = fake as { execCreate: (container: string, request: object) => unknown };
    const refusing: FakeEngine = {
      ...fake,
      execCreate: async (container: string, request: object) => {
        if (container === containerOf(AGENT[0]!)) throw new ApiError(503, 'node beta is away');
        return execCreate(container, request);
      },
    };
    const result = await runCommand(serviceExec, ['--all', 'agent', 'true'], { engine: refusing });
    expect(result).toEqual({
      status: 1,
      stdout: 'agent.alpha.example | task 1\n',
      stderr: 'agent.beta          | Error response from daemon: node beta is away\n',
    });
  });

  test('prints a line without an end in parts', async () => {
    const { fake } = engine(WEB.slice(0, 1), () => [
      frame('stdout', Buffer.alloc(200 * 1024, 'x')),
    ]);
    const { stdout } = await runCommand(serviceExec, ['--all', 'web', 'true'], { engine: fake });
    expect(stdout.split('\n').map((line) => line.length)).toEqual([
      ...Array(3).fill(64 * 1024 + 'web.2 | '.length),
      8 * 1024 + 'web.2 | '.length,
      0,
    ]);
  });
});

describe('skep stack exec', () => {
  test.each(['web.2', 'shop_web.2'])('finds %s among the services of the stack', async (name) => {
    const { fake, ran } = engine(WEB, says('task'));
    const argv = ['shop', name, '--', 'ls', '--all'];
    const result = await runCommand(stackExec, argv, { engine: fake });
    expect(result).toEqual({ status: 0, stdout: 'task 0\n', stderr: '' });
    expect(ran).toMatchObject([
      { container: containerOf(WEB[0]!), request: { Cmd: ['ls', '--all'] } },
    ]);
  });

  test('runs in all tasks, and says which of them said what', async () => {
    const { fake } = engine(WEB.slice(0, 2), says('task'));
    const argv = ['--all', 'shop', 'web', '--', 'id'];
    const { status, stdout } = await runCommand(stackExec, argv, { engine: fake });
    expect([status, stdout.split('\n').sort()]).toEqual([
      1,
      ['', 'shop_web.1 | task 1', 'shop_web.2 | task 0'],
    ]);
  });
});
