// As many streams as a daemon holds, of the kinds that clients leave open, while it goes on with all else.
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { STREAMS_MAX } from '../../daemon/engineapi/stream-places.ts';
import { Engine } from '../differential/engine.ts';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const SOON = { withinMs: 30_000 };
/** Beside those of streams. */
const DESCRIPTORS_MORE_MAX = 20;
/** One container has 128 clients at most. */
const CONTAINERS = 3;
type Kind = Readonly<Record<'request' | 'hears', string>>;

const attach = (container: number, streams: string): Kind => ({
  request: `POST /containers/echo-${container}/attach?stream=1&${streams} HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
  hears: 'heard all',
});
const get = (path: string, hears: string): Kind => ({
  request: `GET ${path} HTTP/1.1\r\nHost: e\r\n\r\n`,
  hears,
});
const EVENTS = get('/events', '"Action":"create"');
/** By turns; each is heard by its own words. */
const KINDS = Array.from({ length: CONTAINERS }, (_, i) => [
  EVENTS,
  get(`/containers/echo-${i}/logs?follow=1&stdout=1`, 'heard all'),
  attach(i, 'stdout=1'),
]).flat();

interface Stream {
  readonly socket: Socket;
  readonly hears: string;
  text: string;
}

describe.skipIf(!clusterTestsCanRun)('a daemon', { timeout: 120_000 }, () => {
  const shared = useCluster('streams', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: 'box:latest' }),
  );
  const sockets: Socket[] = [];
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
  });
  const host = () => shared.current.hosts[0]!;
  const engine = () => new Engine('skep', host().socket);

  /** Resolves when it has begun to be answered. */
  const opened = async ({ request, hears }: Kind): Promise<Stream> => {
    const socket = connect(host().daemonSocket);
    sockets.push(socket);
    const stream = { socket, hears, text: '' };
    socket.on('error', () => {}); // its end tells
    socket.on('data', (chunk: Buffer) => {
      stream.text += chunk.toString('latin1');
    });
    socket.write(request);
    await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
    return stream;
  };

  test(`holds ${STREAMS_MAX} streams, each of which hears what it is about, and serves requests`, async () => {
    const pid = await shared.current.daemonPid('manager-1');
    const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const call = async (method: string, path: string, body?: object): Promise<number> =>
      (await engine().call(method, path, body)).status;
    const echo = {
      Image: 'box',
      Cmd: ['sh', '-c', 'while read x; do echo heard $x; done'],
      OpenStdin: true,
    };
    for (let i = 0; i < CONTAINERS; i++) {
      const made = await call('POST', `/containers/create?name=echo-${i}`, echo);
      expect([made, await call('POST', `/containers/echo-${i}/start`)]).toEqual([201, 204]);
    }
    const before = descriptors();

    const streams: Stream[] = [];
    while (streams.length < STREAMS_MAX - CONTAINERS) {
      streams.push(await opened(KINDS[streams.length % KINDS.length]!));
    }
    const speakers: Stream[] = [];
    while (speakers.length < CONTAINERS) {
      speakers.push(await opened(attach(speakers.length, 'stdin=1')));
    }
    const statuses = [...streams, ...speakers].map(({ text }) => text.slice(0, 12));
    expect(new Set(statuses)).toEqual(new Set(['HTTP/1.1 200', 'HTTP/1.1 101']));

    expect((await opened(EVENTS)).text).toMatch(
      /^HTTP\/1\.1 503 .*1000 streams are open, which is the most/s,
    );
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all([
        call('GET', '/services'),
        call('GET', '/containers/json'),
        call('POST', '/secrets/create', { Name: `s${round}`, Data: 'eA==' }),
      ]);
      expect(answers).toEqual([200, 200, 201]);
    }
    await shared.current.skep([
      'service',
      'create',
      '-q',
      '--no-resolve-image',
      'box',
      'sleep',
      '99',
    ]);

    for (const { socket } of speakers) socket.write('all\n');
    await eventually(
      'each stream hears',
      () => expect(streams.filter(({ text, hears }) => !text.includes(hears)).length).toBe(0),
      SOON,
    );
    expect(streams.filter(({ socket }) => socket.destroyed)).toEqual([]);
    expect(descriptors()).toBeGreaterThan(before + STREAMS_MAX);

    for (const socket of sockets) socket.destroy();
    await eventually(
      'nothing of them is left',
      () => expect(descriptors()).toBeLessThan(before + DESCRIPTORS_MORE_MAX),
      SOON,
    );
    expect((await opened(EVENTS)).text).toMatch(/^HTTP\/1\.1 200 /);
    expect(await shared.current.daemonPid('manager-1')).toBe(pid);
  });
});
