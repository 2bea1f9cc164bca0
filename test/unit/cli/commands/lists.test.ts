import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { COMMANDS, findCommand, GROUPS } from '../../../../cli/command-table.ts';
import { inspect as inspectNode, update as updateNode } from '../../../../cli/commands/node.ts';
import { ls as listNodes } from '../../../../cli/commands/node-list.ts';
import { ls, ps, rm } from '../../../../cli/commands/service.ts';
import { ls as listStacks, rm as removeStack } from '../../../../cli/commands/stack.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { InstantClock } from '../../../support/instant-clock.ts';

const head = (ID: string, second = 0) => ({
  ID,
  Version: { Index: 4 },
  CreatedAt: new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString(),
  UpdatedAt: '2026-01-01T00:00:00Z',
});

const node = (ID: string, Hostname: string, more: object = {}) => ({
  ...head(ID),
  Spec: { Labels: {}, Role: 'worker', Availability: 'active' },
  Description: { Hostname, Engine: { EngineVersion: '0.1.0' } },
  Status: { State: 'ready', Addr: '10.0.0.1' },
  ...more,
});

const service = (ID: string, Name: string, more: object = {}) => ({
  ...head(ID),
  Spec: {
    Name,
    Labels: { 'com.docker.stack.namespace': 'shop' },
    TaskTemplate: { ContainerSpec: { Image: `docker.io/library/web:1@sha256:${'0'.repeat(64)}` } },
    Mode: { Replicated: { Replicas: 2 } },
  },
  ServiceStatus: { RunningTasks: 1, DesiredTasks: 2 },
  ...more,
});

const task = (ID: string, Slot: number, second: number, status: object, DesiredState: string) => ({
  ...head(ID, second),
  Spec: { ContainerSpec: { Image: 'web:1' } },
  ServiceID: 'service-1',
  NodeID: 'node-1',
  Slot,
  Status: { Timestamp: '2026-01-01T00:00:30Z', ...status },
  DesiredState,
});

const noNode = () => Promise.reject(new ApiError(404, 'node x not found'));
const atOneMinute = () => new InstantClock(Date.UTC(2026, 0, 1, 0, 1));

describe('lists', () => {
  test('node ls shows roles, and marks the node that answers', async () => {
    const engine = {
      nodes: async () => [
        node('b', 'host-10'),
        node('a', 'host-2', { ManagerStatus: { Leader: true, Reachability: 'reachable' } }),
        node('c', 'host-3', { ManagerStatus: { Reachability: 'unreachable' } }),
      ],
      info: async () => ({ Swarm: { NodeID: 'a' } }),
    };
    const { stdout } = await runCommand(listNodes, [], { engine });
    expect(stdout).toBe(
      `ID        HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION
a *       host-2     Ready     Active         Leader           0.1.0
c         host-3     Ready     Active         Unreachable      0.1.0
b         host-10    Ready     Active                          0.1.0
`,
    );
    const quiet = await runCommand(listNodes, ['-q'], { engine: { nodes: engine.nodes } });
    expect(quiet.stdout).toBe('a\nc\nb\n');
  });

  test('service ls cuts digests and shows published ports', async () => {
    const services = async (filters: object, status: boolean) => {
      expect([filters, status]).toEqual([{ name: ['w'] }, true]);
      const Ports = [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }];
      return [service('abcdefghijklmnop', 'web', { Endpoint: { Ports } })];
    };
    const { stdout } = await runCommand(ls, ['--filter', 'name=w'], { engine: { services } });
    expect(stdout).toBe(
      `ID             NAME      MODE         REPLICAS   IMAGE     PORTS
abcdefghijkl   web       replicated   1/2        web:1     *:8080->80/tcp
`,
    );
  });

  test('service ps puts older tasks of a slot below the newest', async () => {
    const engine = {
      services: async () => [service('service-1', 'web')],
      tasks: async () => [
        task(
          'old',
          1,
          1,
          { State: 'failed', Err: 'task: non-zero exit (137): and more' },
          'shutdown',
        ),
        task('two', 10, 2, { State: 'running' }, 'running'),
        task('new', 1, 3, { State: 'running' }, 'running'),
      ],
      service: async () => service('service-1', 'web'),
      node: noNode,
    };
    const { stdout } = await runCommand(ps, ['web'], { engine, clock: atOneMinute() });
    expect(stdout).toBe(
      `ID        NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE            ERROR                              PORTS
new       web.1       web:1     node-1    Running         Running 30 seconds ago                                      
old        \\_ web.1   web:1     node-1    Shutdown        Failed 30 seconds ago    "task: non-zero exit (137): an…"   
two       web.10      web:1     node-1    Running         Running 30 seconds ago                                      
`,
    );
  });

  test("service ps shows a job's first slot as 0, and the node of what has no slot", async () => {
    const { Slot: _, ...everywhere } = task('b', 1, 1, { State: 'complete' }, 'complete');
    const engine = {
      services: async () => [service('service-1', 'sums')],
      tasks: async () => [task('a', 0, 1, { State: 'complete' }, 'complete'), everywhere],
      service: async () => service('service-1', 'sums'),
      node: noNode,
    };
    const flags = ['--format', '{{.Name}}', 'sums'];
    const { stdout } = await runCommand(ps, flags, { engine, clock: atOneMinute() });
    expect(stdout).toBe('sums.0\nsums.node-1\n');
  });

  test('service ps of a service that does not exist is an error', async () => {
    const result = await runCommand(ps, ['nope'], { engine: { services: async () => [] } });
    expect(result).toEqual({ status: 1, stdout: '', stderr: 'no such service: nope\n' });
  });

  test('stack ls counts the services of each stack', async () => {
    const services = async () => [service('a', 'x'), service('b', 'y')];
    const { stdout } = await runCommand(listStacks, [], { engine: { services } });
    expect(stdout).toBe('NAME      SERVICES\nshop      2\n');
  });
});

describe('commands on several objects', () => {
  test('all are tried, failures are told, the status is 1', async () => {
    const engine = {
      service: async (ref: string) => service(ref, ref),
      serviceRemove: async (id: string) => {
        if (id === 'gone') throw new ApiError(404, 'service gone not found');
      },
      tasks: async () => [],
      nodes: async () => [],
    };
    const result = await runCommand(rm, ['a', 'gone', 'b'], { engine });
    expect(result).toEqual({
      status: 1,
      stdout: 'a\nb\n',
      stderr: 'Error response from daemon: service gone not found\n',
    });
  });

  test('inspect prints what there is, then what there is not', async () => {
    const found = async (ref: string) => (ref === 'a' ? node('a', 'host') : noNode());
    const result = await runCommand(inspectNode, ['a', 'x', '--format', '{{.ID}}'], {
      engine: { node: found },
    });
    expect(result).toEqual({ status: 1, stdout: 'a\n', stderr: 'no such node: x\n' });
  });

  test('node update sends the whole spec with the version that was read', async () => {
    const sent: unknown[] = [];
    const engine = {
      node: async () =>
        node('a', 'host', {
          Spec: { Labels: { old: '1' }, Role: 'worker', Availability: 'active' },
        }),
      nodeUpdate: async (...args: unknown[]) => void sent.push(args),
    };
    const argv = ['--availability', 'drain', '--label-add', 'zone=b', '--label-rm', 'old', 'host'];
    const { stdout } = await runCommand(updateNode, argv, { engine });
    expect(stdout).toBe('host\n');
    expect(sent).toEqual([
      ['a', 4, { Labels: { zone: 'b' }, Role: 'worker', Availability: 'drain' }],
    ]);
    const missing = await runCommand(updateNode, ['--label-rm', 'zz', 'host'], { engine });
    expect(missing).toMatchObject({ status: 1, stderr: "key zz doesn't exist in node's labels\n" });
  });

  test('stack rm removes services first, networks last, and needs nothing to be there', async () => {
    const log: string[] = [];
    const remove =
      (kind: string) =>
      async (...args: unknown[]) =>
        void log.push(`${kind} ${args}`);
    const engine = {
      services: async () => [service('s2', 'shop_web'), service('s1', 'shop_db')],
      secrets: async (kind: string) =>
        kind === 'secrets' ? [{ ...head('k'), Spec: { Name: 'shop_key' } }] : [],
      networks: async () => [{ Id: 'n', Name: 'shop_default' }],
      tasks: async () => {
        log.push('tasks');
        return [];
      },
      nodes: async () => [],
      serviceRemove: remove('service'),
      secretRemove: remove('secret'),
      networkRemove: remove('network'),
    };
    const { stdout, status } = await runCommand(removeStack, ['shop'], { engine });
    expect(status).toBe(0);
    expect(stdout).toBe(
      'Removing service shop_db\nRemoving service shop_web\nRemoving secret shop_key\nRemoving network shop_default\n',
    );
    expect(log).toEqual(['service s1', 'service s2', 'tasks', 'secret secrets,k', 'network n']);
    const none = async () => [];
    const empty = { services: none, secrets: none, networks: none };
    expect(await runCommand(removeStack, ['shop'], { engine: empty })).toEqual({
      status: 0,
      stdout: '',
      stderr: 'Nothing found in stack: shop\n',
    });
  });
});

describe('table of commands', () => {
  test('every entry leads to a command', async () => {
    const entries = [GROUPS, { '': { commands: COMMANDS } }].flatMap((table) =>
      Object.entries(table).flatMap(([group, { commands }]) =>
        Object.entries(commands).map(([name, entry]) => [`${group} ${name}`, entry] as const),
      ),
    );
    for (const [name, entry] of entries) {
      expect(typeof (await entry.load()), name).toBe('function');
    }
  });

  test.each([
    [['service', 'ls', '-q'], 'skep service ls', ['-q']],
    [['service', 'list'], 'skep service ls', []],
    [['stack', 'up', 'x'], 'skep stack deploy', ['x']],
    [['stack', 'down', 'x'], 'skep stack rm', ['x']],
    [['ps'], 'skep ps', []],
  ])('%j', (args, words, rest) => expect(findCommand(args)).toMatchObject({ words, rest }));

  test('a word that is no command is told apart from a group alone', () => {
    expect(findCommand(['service'])).toEqual({ group: 'service', unknown: null });
    expect(findCommand(['service', '--help'])).toEqual({ group: 'service', unknown: null });
    expect(findCommand(['service', 'fly'])).toEqual({ group: 'service', unknown: 'fly' });
    expect(findCommand(['toString'])).toBeNull();
  });
});
