import { describe, expect, test } from 'vitest';
import type { EventQuery } from '../../../../cli/client/engine-client.ts';
import { events } from '../../../../cli/commands/events.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { InstantClock } from '../../../support/instant-clock.ts';

const EVENTS = [
  {
    Type: 'service',
    Action: 'create',
    Actor: { ID: 's1', Attributes: { name: 'web' } },
    scope: 'swarm',
    time: 1_764_360_000,
    timeNano: 1_764_360_000_123_000_000,
  },
  {
    status: 'die',
    id: 'c1',
    from: 'web:1',
    Type: 'container',
    Action: 'die',
    Actor: { ID: 'c1', Attributes: { name: 'web.1', exitCode: '3' } },
    scope: 'local',
    time: 1_764_360_001,
    timeNano: 1_764_360_001_000_000_000,
  },
];

async function run(...argv: string[]) {
  const asked: EventQuery[] = [];
  const clock = new InstantClock();
  const engine = {
    async *events(query: EventQuery) {
      asked.push(query);
      yield* EVENTS;
    },
  };
  return { ...(await runCommand(events, argv, { engine, clock })), asked, clock };
}

describe('skep events', () => {
  test('prints a line for each, as docker does', async () => {
    expect((await run()).stdout).toBe(
      '2025-11-28T20:00:00.123000000Z service create s1 (name=web)\n' +
        '2025-11-28T20:00:01.000000000Z container die c1 (exitCode=3, name=web.1)\n',
    );
  });

  test('prints JSON lines, and templates with the names of docker', async () => {
    const lines = (await run('--format', 'json')).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual(EVENTS);
    const template = '{{.Scope}} {{.Type}} {{.Actor.Attributes.name}} {{.Time}} {{.From}}';
    expect((await run('--format', template)).stdout).toBe(
      'swarm service web 1764360000 \nlocal container web.1 1764360001 web:1\n',
    );
  });

  test('passes filters on, and times as unix seconds', async () => {
    const { asked, clock } = await run(
      ...['--filter', 'type=service', '-f', 'type=node', '-f', 'event=create'],
      ...['--since', '90s', '--until', '2026-01-02T00:00:00Z'],
    );
    expect(asked).toEqual([
      {
        since: ((clock.wallMs() - 90_000) / 1000).toFixed(9),
        until: '1767312000.000000000',
        filters: { type: ['service', 'node'], event: ['create'] },
      },
    ]);
  });

  test('refuses a time that is none', async () => {
    const result = await run('--since', 'yesterday');
    expect([result.status, result.asked]).toEqual([expect.any(Number), []]);
    expect(result.status).not.toBe(0);
  });
});
