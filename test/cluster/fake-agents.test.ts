// `skep dev agents`: fake nodes in a real cluster, their tasks, and how they leave.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, SKEP } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const COUNT = 12;

class AgentsCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
  output = '';

  constructor(args: readonly string[]) {
    this.child = spawn(SKEP, [...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = once(this.child, 'exit');
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.output += String(chunk);
      });
    }
  }

  async interrupt(): Promise<number> {
    this.child.kill('SIGINT');
    const [status] = await this.ended;
    return status as number;
  }
}

describe.skipIf(!clusterTestsCanRun)('fake agents', () => {
  const shared = useCluster('agents', { managers: 1, workers: 0 }, async () => {});
  const running: AgentsCommand[] = [];

  afterEach(async () => {
    for (const { child, ended } of running.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL'); // its processes end with it
      await ended;
    }
  });

  function begin(args: readonly string[]): AgentsCommand {
    const command = new AgentsCommand(args);
    running.push(command);
    return command;
  }

  async function statuses(): Promise<string[]> {
    const filter = ['--filter', 'label=skep.dev.agent=fake', '--format', '{{.Status}}'];
    const text = await shared.current.skep(['node', 'ls', ...filter]);
    return text.split('\n').filter(Boolean);
  }

  const areReady = (command: AgentsCommand) =>
    eventually(
      'the fake nodes are ready',
      async () => expect(await statuses(), command.output).toEqual(Array(COUNT).fill('Ready')),
      { withinMs: 30_000, everyMs: 200 },
    );

  test('join, run what is placed on them, and are removed with Ctrl-C', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    const host = ['-H', `unix://${cluster.managers[0]!.socket}`];
    const command = begin([
      ...host,
      ...['dev', 'agents', '--count', String(COUNT), '--processes', '2'],
    ]);
    await areReady(command);
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'fake'],
      ...['--replicas', String(3 * COUNT), '--constraint', 'engine.labels.skep.dev.agent==fake'],
      ...['example.invalid/none:1', 'nothing'],
    ]);
    const tasks = await cluster.running('fake', 3 * COUNT);
    const perNode = new Map<string, number>();
    for (const { node } of tasks) perNode.set(node, (perNode.get(node) ?? 0) + 1);
    expect([...perNode.values()]).toEqual(Array(COUNT).fill(3));
    await eventually(
      'the command says so',
      () =>
        expect(command.output).toMatch(
          new RegExp(`${COUNT} of ${COUNT} connected, ${3 * COUNT} tasks run, heartbeats answered`),
        ),
      { withinMs: 15_000 },
    );
    expect(await command.interrupt()).toBe(0);
    expect(command.output).toContain(`${COUNT} nodes removed`);
    expect(await statuses()).toEqual([]);
    await cluster.skep(['service', 'rm', '-d', 'fake']);
  });

  test('joined by a token they stay as down, and it is said how to remove them', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    const token = (await cluster.skep(['swarm', 'join-token', '-q', 'worker'])).trim();
    const { address } = cluster.managers[0]!;
    const command = begin([
      ...['dev', 'agents', '--count', String(COUNT)],
      ...['--manager', address, '--token', token],
    ]);
    await areReady(command);
    expect(await command.interrupt()).toBe(0);
    expect(command.output).toContain(`${COUNT} nodes are down now. To remove them`);
    await eventually(
      'they are down',
      async () => expect(await statuses()).toEqual(Array(COUNT).fill('Down')),
      { withinMs: 5_000 },
    );
    const ids = await cluster.skep(['node', 'ls', '-q', '--filter', 'label=skep.dev.agent=fake']);
    await cluster.skep(['node', 'rm', '--force', ...ids.split('\n').filter(Boolean)]);
    expect(await statuses()).toEqual([]);
  });

  test.each([
    ['a token of another cluster', `SWMTKN-1-${'0'.repeat(50)}-${'0'.repeat(25)}`, 'fingerprint'],
    ['no token at all', 'secret', 'invalid join token'],
  ])('are refused with %s', { timeout: 30_000 }, async (_what, token, words) => {
    const { address } = shared.current.managers[0]!;
    const command = begin([
      ...['dev', 'agents', '--count', '3', '--manager', address, '--token', token],
    ]);
    const [status] = await command.ended;
    expect(status).toBe(1);
    expect(command.output).toContain(words);
  });
});
