import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { BlobPart, ReadBlobRequest } from '../../../common/model/blob.ts';
import type { RpcCalls } from '../../../common/rpc/pool.ts';
import { AnsweredError } from '../../../common/rpc/status.ts';
import {
  ClusterSource,
  ReachableManagers,
  rankManagers,
} from '../../../worker/images/cluster-source.ts';
import { PeerLostError } from '../../../worker/images/peer-source.ts';
import { isTransient } from '../../../worker/images/registry-errors.ts';
import { InstantClock } from '../../support/instant-clock.ts';
import { noTokens } from '../../support/no-tokens.ts';

const digestOf = (n: number): string => `sha256:${n.toString(16).padStart(64, '0')}`;
const MANAGERS = ['10.0.0.1:2377', '10.0.0.2:2377', '10.0.0.3:2377'];

describe('the managers of a blob', () => {
  test('are the same on each node, however it learned of them', () => {
    expect(rankManagers([...MANAGERS].reverse(), digestOf(7))).toEqual(
      rankManagers(MANAGERS, digestOf(7)),
    );
  });

  test('share the blobs', () => {
    const first = Array.from({ length: 300 }, (_, n) => rankManagers(MANAGERS, digestOf(n))[0]);
    for (const manager of MANAGERS) {
      expect(first.filter((one) => one === manager).length).toBeGreaterThan(60);
    }
  });

  test('stay with their blobs when another one goes', () => {
    for (let n = 0; n < 50; n++) {
      const [first, ...others] = rankManagers(MANAGERS, digestOf(n));
      const without = MANAGERS.filter((one) => one !== first);
      expect(rankManagers(without, digestOf(n))).toEqual(others);
    }
  });
});

type Answer = readonly string[] | Error;

/** Managers that answer so, and a registry; tells who was asked. */
function scene(
  answers: Readonly<Record<string, Answer>>,
  self = '10.0.0.9:2377',
  holders: readonly string[] = [],
) {
  const asked: string[] = [];
  const requests: ReadBlobRequest[] = [];
  const calls = (address: string) =>
    ({
      serverStream: async (_: unknown, request: ReadBlobRequest) => {
        asked.push(address);
        requests.push(request);
        const answer = answers[address] ?? new SkepError('unavailable', 'no such node');
        if (answer instanceof Error) throw answer;
        const parts = answer.map((text) => (text === 'lost' ? null : Buffer.from(text)));
        return {
          next: async (): Promise<BlobPart | null> => {
            if (parts.length === 0) return null;
            const data = parts.shift();
            if (data == null) throw new SkepError('unavailable', 'connection lost');
            return { data };
          },
          cancel: () => {},
        };
      },
    }) as unknown as Pick<RpcCalls, 'serverStream'>;
  const clock = new InstantClock();
  const registry = {
    manifest: async (reference: string) => {
      asked.push('registry');
      return Buffer.from(`manifest ${reference}`);
    },
    blob: async () => {
      asked.push('registry');
      const body = { ...(async function* () {})(), destroy: () => {} };
      return { body: Object.assign(body, iterable(['from registry'])), offset: 0 };
    },
  };
  const source = new ClusterSource({
    peers: {
      managers: async () => MANAGERS,
      self,
      isManager: false,
      requireManager: () => {},
      manager: calls,
      node: (_, address) => calls(address),
      wantedImages: async () => null,
      exchangeToken: noTokens,
      holders: (domain, path) =>
        holders.map((address) => ({ nodeId: `${domain}/${path}`, address })),
    },
    reachable: new ReachableManagers(clock),
    registry,
    origin: { domain: 'r', path: 'web', auth: null },
    log: silentLogger,
  });
  const read = async (digest: string): Promise<string> => {
    const { body } = await source.blob({ digest, sizeBytes: 9 }, 4, undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  return { source, asked, requests, read, clock };
}

function iterable(texts: readonly string[]): AsyncIterable<Buffer> {
  return {
    async *[Symbol.asyncIterator]() {
      for (const text of texts) yield Buffer.from(text);
    },
  };
}

describe('an image through the cluster', () => {
  const digest = digestOf(1);
  const [first, second] = rankManagers(MANAGERS, digest) as [string, string, string];

  test('comes from the first manager of each blob, which is told where to get it', async () => {
    const { read, asked, requests } = scene({ [first]: ['by ', 'manager'] });
    expect(await read(digest)).toBe('by manager');
    expect(asked).toEqual([first]);
    const origin = { domain: 'r', path: 'web', auth: null, sizeBytes: 9, isManifest: false };
    expect(requests).toEqual([{ digest, offset: 4, origin }]);
  });

  test('comes from the next manager when the first cannot be reached, which is not asked again soon', async () => {
    const { read, asked, clock } = scene({ [second]: ['second'] });
    expect(await read(digest)).toBe('second');
    expect(await read(digest)).toBe('second');
    expect(asked).toEqual([first, second, second]);
    clock.advance(30_000);
    await read(digest);
    expect(asked.slice(3)).toEqual([first, second]);
  });

  test('comes from the registry when a manager says that it cannot get it', async () => {
    const { read, asked } = scene({
      [first]: new SkepError('unauthenticated', 'unauthorized'),
      [second]: ['second'],
    });
    expect(await read(digest)).toBe('from registry');
    expect(asked).toEqual([first, 'registry']);
  });

  test.each(['unavailable', 'deadline-exceeded'] as const)(
    'a manager that answers that the registry is %s can be reached: no other one is asked, and it is asked again',
    async (code) => {
      const { read, asked } = scene({
        [first]: new AnsweredError(code, 'the registry is down'),
        [second]: ['second'],
      });
      await read(digest);
      await read(digest);
      expect(asked).toEqual([first, 'registry', first, 'registry']);
    },
  );

  test('comes from the registry where this node is the one that is to fetch it', async () => {
    const { read, asked } = scene({ [second]: ['second'] }, first);
    expect(await read(digest)).toBe('from registry');
    expect(asked).toEqual(['registry']);
  });

  test('is asked of nodes that run it before the registry where this node is the one that is to fetch it', async () => {
    const holders = ['10.0.1.1:2377', '10.0.1.2:2377', '10.0.1.3:2377'];
    const one = scene({ [holders[1]!]: ['from a worker'] }, first, holders);
    expect(await one.read(digest)).toBe('from a worker');
    expect(one.asked).toEqual(holders.slice(0, 2));
    expect(one.requests[1]).toEqual({ digest, offset: 4, origin: null });
    const none = scene({}, first, holders);
    expect(await none.read(digest)).toBe('from registry');
    expect(none.asked).toEqual([...holders.slice(0, 2), 'registry']);
  });

  test('a manager that goes away in the middle is passing trouble', async () => {
    const { read } = scene({ [first]: ['half', 'lost'] });
    const failure = await read(digest).catch((err: unknown) => err);
    expect(failure).toBeInstanceOf(PeerLostError);
    expect(isTransient(failure)).toBe(true);
  });

  test('what a tag means is asked of the registry alone, what a digest means of the managers', async () => {
    const { source, asked } = scene({ [first]: ['the manifest'] });
    expect((await source.manifest('1')).toString()).toBe('manifest 1');
    expect((await source.manifest(digest)).toString()).toBe('the manifest');
    expect(asked).toEqual(['registry', first]);
  });
});
