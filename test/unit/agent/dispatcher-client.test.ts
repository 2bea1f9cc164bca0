import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import type { AgentMessage, DispatcherMessage } from '../../../common/model/session.ts';
import type { RpcStream } from '../../../common/rpc/stream.ts';
import {
  DispatcherClient,
  type DispatcherConnections,
} from '../../../worker/agent/dispatcher-client.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const A = '10.0.0.1:2377';
const B = '10.0.0.2:2377';
const C = '10.0.0.3:2377';
const BEAT: AgentMessage = { kind: 'heartbeat' };
const STORED: DispatcherMessage = { kind: 'heartbeat-heard', storedSequence: 1 };

class FakeStream implements RpcStream<DispatcherMessage, AgentMessage> {
  readonly written: AgentMessage[] = [];
  readonly cancelled: unknown[] = [];
  answer: DispatcherMessage | SkepError | null = STORED;
  writeFailure: unknown = null;
  ended = false;

  async next(_signal?: AbortSignal): Promise<DispatcherMessage | null> {
    if (this.answer instanceof Error) throw this.answer;
    return this.answer;
  }

  write(message: AgentMessage): boolean {
    if (this.writeFailure) throw this.writeFailure;
    this.written.push(message);
    return true;
  }

  cancel(reason?: unknown): void {
    this.cancelled.push(reason);
  }

  async drained(): Promise<void> {}
  fail(): void {}
  async send(): Promise<void> {}
  end(): void {
    this.ended = true;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<DispatcherMessage> {
    // The agent asks for one message at a time.
  }
}

/** Managers that answer; the others cannot be reached. */
class FakeManagers implements DispatcherConnections {
  readonly reachable = new Map<string, FakeStream>();
  readonly asked: string[] = [];
  /** of the last call: aborted = the call is broken off */
  signal: AbortSignal | null = null;

  add(address: string, answer: FakeStream['answer'] = STORED): FakeStream {
    const stream = new FakeStream();
    stream.answer = answer;
    this.reachable.set(address, stream);
    return stream;
  }

  /** those of them that another one had named */
  readonly askedAsLeader: string[] = [];

  session(address: string) {
    return {
      duplex: async (
        _method: unknown,
        {
          signal,
          isNamedLeader,
        }: { readonly signal: AbortSignal; readonly isNamedLeader: boolean },
      ) => {
        this.asked.push(address);
        if (isNamedLeader) this.askedAsLeader.push(address);
        this.signal = signal;
        signal.throwIfAborted();
        const stream = this.reachable.get(address);
        if (!stream) throw new SkepError('unavailable', `connect to ${address}: refused`);
        return stream;
      },
    };
  }
}

async function scene(seedAddresses: readonly string[], file?: string, seed = 7) {
  const managers = new FakeManagers();
  const path = file ?? join(await folder(), 'agent', 'managers.json');
  const clock = new FakeClock();
  const client = new DispatcherClient({
    pool: managers,
    file: path,
    seedAddresses,
    clock,
    random: new SeededRandom(seed),
    log: silentLogger,
  });
  const { signal } = new AbortController();
  /** Opens and reads one message. */
  const talk = async () => (await client.open(signal)).receive(signal);
  return { managers, client, clock, signal, talk, file: path };
}

function notLeader(leaderAddress?: string): SkepError {
  return new SkepError('not-leader', 'this manager is not the leader', {
    details: leaderAddress === undefined ? {} : { leaderAddress },
  });
}

const peers = (...addresses: string[]) =>
  addresses.map((address, i) => ({ nodeId: `m${i}`, address }));

describe('dispatcher client', () => {
  test('asks one manager after the other until one can be reached', async () => {
    const it = await scene([A, B, C]);
    it.managers.add(B);
    expect(await it.talk()).toEqual(STORED);
    expect(it.managers.asked.at(-1)).toBe(B);
    expect(new Set(it.managers.asked).size).toBe(it.managers.asked.length);
  });

  test('tells of the last refusal when nobody can be reached', async () => {
    const it = await scene([A, B]);
    await expect(it.client.open(it.signal)).rejects.toThrow(/connect to .*: refused/);
    expect(new Set(it.managers.asked)).toEqual(new Set([A, B]));
  });

  test('says so when it knows no manager', async () => {
    const it = await scene([]);
    await expect(it.client.open(it.signal)).rejects.toThrow('no manager is known');
  });

  test('goes next to the leader that a manager names, though it knows it not', async () => {
    const it = await scene([A]);
    it.managers.add(A, notLeader(C));
    it.managers.add(C);
    await expect(it.talk()).rejects.toThrow('not the leader');
    expect(await it.talk()).toEqual(STORED);
    expect(it.managers.asked).toEqual([A, C]);
  });

  test('is patient with a leader that another manager names, once for each time', async () => {
    const it = await scene([A]);
    it.managers.add(A, notLeader(C));
    await expect(it.talk()).rejects.toThrow('not the leader');
    await expect(it.talk()).rejects.toThrow('not the leader'); // C cannot be reached, and A is asked again
    expect(it.managers.asked).toEqual([A, C, A]);
    expect(it.managers.askedAsLeader).toEqual([C]);
    it.managers.add(C);
    await it.talk();
    expect(it.managers.askedAsLeader).toEqual([C, C]);
  });

  test('asks a manager that could not be reached, or was silent, after the others', async () => {
    const it = await scene([A, B, C]);
    it.managers.add(B, new SkepError('unavailable', 'reset'));
    it.managers.add(C, new SkepError('unavailable', 'reset'));
    for (let i = 0; i < 30; i++) await expect(it.talk()).rejects.toThrow('reset');
    // A, which nobody reaches, was asked once at most.
    expect(it.managers.asked.filter((address) => address === A).length).toBeLessThanOrEqual(1);
    const silent = await scene([A, B, C]);
    for (const address of [A, B, C]) silent.managers.add(address);
    const session = await silent.client.open(silent.signal);
    const [first] = silent.managers.asked;
    silent.managers.reachable.get(first!)!.answer = new SkepError('deadline-exceeded', 'silent');
    await expect(session.receive(silent.signal)).rejects.toThrow('silent');
    await silent.client.open(silent.signal);
    expect(silent.managers.asked[1]).not.toBe(first);
  });

  test('comes to the manager that could not be reached once, when the other is none any more', async () => {
    const { client, managers, signal, talk } = await scene([A, B]);
    await expect(client.open(signal)).rejects.toThrow('refused');
    const lost = managers.asked.at(-1)!;
    managers.add(lost);
    managers.add(lost === A ? B : A, new SkepError('unimplemented', 'not served here'));
    await expect(talk()).rejects.toThrow('not served here');
    expect(await talk()).toEqual(STORED);
    expect(managers.asked.at(-1)).toBe(lost);
  });

  test('asks a manager that knows no leader once more before it asks another', async () => {
    const it = await scene([A, B]);
    it.managers.add(A, notLeader());
    it.managers.add(B, notLeader());
    const asked: string[] = [];
    for (let i = 0; i < 40; i++) {
      it.managers.asked.length = 0;
      await expect(it.talk()).rejects.toThrow('not the leader');
      asked.push(it.managers.asked[0]!);
    }
    for (let i = 0; i < 40; i += 2) {
      expect(new Set(asked.slice(i, i + 2)).size).toBe(1);
    }
    expect(new Set(asked)).toEqual(new Set([A, B]));
    // A word about the leader is believed at once.
    it.managers.add(A, notLeader(C));
    it.managers.add(B, notLeader(C));
    it.managers.add(C);
    await expect(it.talk()).rejects.toThrow('not the leader');
    expect(await it.talk()).toEqual(STORED);
  });

  test('begins with the leader of the last session', async () => {
    const it = await scene([A, B, C]);
    it.managers.add(B);
    await it.talk();
    for (let i = 0; i < 5; i++) {
      it.managers.asked.length = 0;
      await it.talk();
      expect(it.managers.asked).toEqual([B]);
    }
  });

  test('asks the others when the leader it was told of cannot be reached', async () => {
    const it = await scene([A]);
    it.managers.add(A, notLeader(C));
    await expect(it.talk()).rejects.toThrow('not the leader');
    it.managers.asked.length = 0;
    it.managers.add(A);
    expect(await it.talk()).toEqual(STORED);
    expect(it.managers.asked).toEqual([C, A]);
  });

  test('gives up a leader whose stream broke', async () => {
    const it = await scene([A, B]);
    it.managers.add(A, new SkepError('unavailable', 'reset'));
    it.managers.add(B, new SkepError('unavailable', 'reset'));
    const firstAsked: string[] = [];
    for (let i = 0; i < 12; i++) {
      it.managers.asked.length = 0;
      await expect(it.talk()).rejects.toThrow('reset');
      firstAsked.push(it.managers.asked[0]!);
    }
    expect(new Set(firstAsked)).toEqual(new Set([A, B]));
  });

  test('asks the leader first once more when the stream of a session broke', async () => {
    for (let i = 0; i < 12; i++) {
      const it = await scene([A, B, C]);
      const stream = it.managers.add(C);
      const session = await it.client.open(it.signal);
      await session.receive(it.signal);
      stream.answer = new SkepError('unavailable', 'reset');
      await expect(session.receive(it.signal)).rejects.toThrow('reset');
      it.managers.asked.length = 0;
      stream.answer = STORED;
      await it.talk();
      expect(it.managers.asked).toEqual([C]);
    }
  });

  test('gives up a leader that fell silent, and one that is gone with its connection', async () => {
    const firstAsked: string[] = [];
    for (let i = 0; i < 12; i++) {
      const it = await scene([A, B], undefined, i);
      const stream = it.managers.add(A);
      const session = await it.client.open(it.signal);
      await session.receive(it.signal);
      stream.answer = new SkepError('deadline-exceeded', 'silent');
      await expect(session.receive(it.signal)).rejects.toThrow('silent');
      it.managers.asked.length = 0;
      await it.client.open(it.signal);
      firstAsked.push(it.managers.asked[0]!);
    }
    expect(new Set(firstAsked)).toEqual(new Set([B]));
    const it = await scene([A, B]);
    const stream = it.managers.add(A);
    const session = await it.client.open(it.signal);
    await session.receive(it.signal);
    stream.answer = new SkepError('unavailable', 'reset');
    await expect(session.receive(it.signal)).rejects.toThrow('reset');
    it.managers.reachable.delete(A);
    it.managers.add(B);
    it.managers.asked.length = 0;
    await it.talk();
    expect(it.managers.asked).toEqual([A, B]);
  });

  test('stops asking when it is cancelled', async () => {
    const it = await scene([A, B, C]);
    const abort = new AbortController();
    abort.abort(new Error('daemon stops'));
    await expect(it.client.open(abort.signal)).rejects.toThrow('daemon stops');
    expect(it.managers.asked).toHaveLength(1);
  });

  test('remembers over a restart the managers of the last session', async () => {
    const before = await scene([A]);
    before.client.learnManagers(peers(B, C));
    await before.client.saved();
    const after = await scene([], before.file);
    await after.client.load();
    await expect(after.client.open(after.signal)).rejects.toThrow();
    expect(new Set(after.managers.asked)).toEqual(new Set([B, C]));
  });

  test('forgets nothing when it is told of no manager', async () => {
    const it = await scene([A]);
    it.client.learnManagers([]);
    it.managers.add(A);
    expect(await it.talk()).toEqual(STORED);
  });

  test('writes the newest list last', async () => {
    const it = await scene([A]);
    it.client.learnManagers(peers(A, B));
    it.client.learnManagers(peers(A, B, C));
    await it.client.saved();
    expect(JSON.parse(await readFile(it.file, 'utf8'))).toEqual([A, B, C]);
  });

  test.each(['', '{"a":1}', '"10.0.0.9:1"', '[1,2]'])(
    'begins with its seeds when the file holds %j',
    async (text) => {
      const file = join(await folder(), 'managers.json');
      await writeFile(file, text);
      const it = await scene([A], file);
      await it.client.load();
      await expect(it.client.open(it.signal)).rejects.toThrow();
      expect(it.managers.asked).toEqual([A]);
    },
  );

  test('goes on when the list cannot be written', async () => {
    const file = join(await folder(), 'managers.json');
    await mkdir(`${file}.new`);
    const it = await scene([A], file);
    it.client.learnManagers(peers(A, B));
    await it.client.saved();
    it.managers.add(B);
    expect(await it.talk()).toEqual(STORED);
  });
});

describe('agent stream', () => {
  test('passes messages on and breaks off when closed', async () => {
    const it = await scene([A]);
    const stream = it.managers.add(A);
    const session = await it.client.open(it.signal);
    expect(session.send(BEAT)).toBe(true);
    expect(stream.written).toEqual([BEAT]);
    stream.answer = null;
    expect(await session.receive(it.signal)).toBeNull();
    session.close();
    expect(stream.cancelled).toHaveLength(1);
  });

  test('an open session outlives the signal that broke off opening, so that it can say farewell', async () => {
    const { managers, client } = await scene([A]);
    const stream = managers.add(A, null);
    const stop = new AbortController();
    const session = await client.open(stop.signal);
    stop.abort(new Error('the daemon stops'));
    expect(managers.signal?.aborted).toBe(false);
    await session.pause();
    expect(stream.written).toEqual([{ kind: 'pause' }]);
  });

  test('pauses: says so, ends its side and reads until the manager has ended', async () => {
    const it = await scene([A]);
    const stream = it.managers.add(A);
    const session = await it.client.open(it.signal);
    const rest = [STORED, STORED, null];
    stream.next = async () => rest.shift() ?? null;
    await session.pause();
    expect(stream.written).toEqual([{ kind: 'pause' }]);
    expect(stream.ended).toBe(true);
    expect(rest).toEqual([]);
    expect(it.clock.pending).toBe(0);
  });

  test('does not wait for a manager that says nothing, nor for one that is gone', async () => {
    const it = await scene([A]);
    const stream = it.managers.add(A);
    const session = await it.client.open(it.signal);
    stream.next = (signal) =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    let over = false;
    const paused = session.pause().then(() => {
      over = true;
    });
    await it.clock.advance(499);
    expect(over).toBe(false);
    await it.clock.advance(1);
    await settle();
    expect(over).toBe(true);
    await paused;
    stream.writeFailure = new SkepError('unavailable', 'reset');
    await session.pause();
    expect(it.clock.pending).toBe(0);
  });

  test('a failed write is the reader’s to tell', async () => {
    const it = await scene([A]);
    const stream = it.managers.add(A);
    const session = await it.client.open(it.signal);
    stream.writeFailure = new SkepError('resource-exhausted', 'too much is queued');
    expect(session.send(BEAT)).toBe(false);
    expect(stream.cancelled).toEqual([stream.writeFailure]);
  });

  test('a reader that is cancelled does not give up the leader', async () => {
    const it = await scene([A, B, C]);
    it.managers.add(B);
    await it.talk();
    const abort = new AbortController();
    const session = await it.client.open(abort.signal);
    it.managers.reachable.get(B)!.answer = new SkepError('cancelled', 'stopped');
    abort.abort();
    await expect(session.receive(abort.signal)).rejects.toThrow();
    it.managers.asked.length = 0;
    await it.client.open(it.signal);
    expect(it.managers.asked).toEqual([B]);
  });
});
