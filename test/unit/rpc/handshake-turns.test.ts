import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { HandshakeTurns, type NewConnection } from '../../../common/rpc/handshake-turns.ts';
import {
  HANDSHAKE_TIMEOUT_MS,
  HANDSHAKE_TURN_MS,
  HANDSHAKES_AT_ONCE_MAX,
} from '../../../common/rpc/limits.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

interface FakeConnection extends NewConnection {
  read(): Buffer | null;
  write(chunk: Buffer): boolean;
  end(): void;
}

const aConnection = () => new PassThrough() as unknown as FakeConnection;

let clock: FakeClock;
let begun: FakeConnection[];
let turns: HandshakeTurns<FakeConnection>;

beforeEach(() => {
  clock = new FakeClock();
  begun = [];
  turns = new HandshakeTurns({ clock, begin: (connection) => void begun.push(connection) });
});

/** Connections that have said hello, one after the other. */
async function arrivals(count: number): Promise<FakeConnection[]> {
  const connections = Array.from({ length: count }, aConnection);
  for (const connection of connections) {
    turns.add(connection);
    connection.write(Buffer.from('hello'));
    await settle();
  }
  return connections;
}

const full = () => arrivals(HANDSHAKES_AT_ONCE_MAX);

describe('handshakes in turn', () => {
  test('few are under way at once, and the next one begins when one is over', async () => {
    const first = await full();
    const later = await arrivals(1);
    expect(begun).toEqual(first);
    turns.over(first[3]!);
    turns.over(first[3]!);
    expect(begun.slice(first.length)).toEqual(later);
  });

  test('what was said before the turn is there to be read', async () => {
    const [first] = await full();
    const [late] = await arrivals(1);
    late!.write(Buffer.from(', and more'));
    await settle();
    turns.over(first!);
    expect(late!.read()?.toString()).toBe('hello, and more');
  });

  test('the oldest and the newest take turns', async () => {
    const first = await full(); // the newest was the last to begin: there was no other
    const [a, b, c, d] = await arrivals(4);
    for (const connection of first.slice(0, 4)) turns.over(connection);
    expect(begun.slice(first.length)).toEqual([a, d, b, c]);
  });

  test('one that its client left has no turn', async () => {
    const first = await full();
    const [left, next] = await arrivals(2);
    left!.end();
    await settle();
    expect(left!.destroyed).toBe(true);
    turns.over(first[0]!);
    expect(begun.at(-1)).toBe(next);
  });

  test('one that breaks off in its handshake makes room', async () => {
    const first = await full();
    const [next] = await arrivals(1);
    first[0]!.destroy();
    await settle();
    expect(begun.at(-1)).toBe(next);
  });

  test('those that stop half-way do not hold up the others for ever', async () => {
    await full();
    const [next] = await arrivals(1);
    await clock.advance(HANDSHAKE_TURN_MS - 1);
    expect(begun).not.toContain(next);
    await clock.advance(1);
    expect(begun).toContain(next);
  });

  test('one that says nothing takes no turn, and is closed', async () => {
    const silent = aConnection();
    turns.add(silent);
    const [next] = await arrivals(1);
    expect(begun).toEqual([next]);
    await clock.advance(HANDSHAKE_TIMEOUT_MS);
    expect(silent.destroyed).toBe(true);
  });

  test('one that says far too much before its turn is closed', async () => {
    await full();
    const [talker] = await arrivals(1);
    talker!.write(Buffer.alloc(65 * 1024));
    await settle();
    expect(talker!.destroyed).toBe(true);
  });
});
