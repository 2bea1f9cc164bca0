import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BlobSender } from '../../../worker/images/blob-sender.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const never = new AbortController().signal;
const REQUEST = { digest: `sha256:${'7'.repeat(64)}`, offset: 0, origin: null };
const PLACES = 16;

async function scene(isFetched = false) {
  const path = join(await newFolder(), 'blob');
  await writeFile(path, 'content');
  const clock = new FakeClock();
  let arrivals = 0;
  const sender = new BlobSender(
    { path: () => path, sizeBytes: () => 7 },
    { provide: async () => isFetched },
    { holding: (work) => work({ blobs: new Set(), chainIds: new Set() }) },
    clock,
    () => arrivals++,
  );
  return { sender, clock, arrivals: () => arrivals };
}

/** Nodes that take nothing, on all places; resolves when each was sent something. */
async function occupy(sender: BlobSender): Promise<Promise<unknown>[]> {
  const sends: Promise<unknown>[] = [];
  await new Promise<void>((resolve) => {
    let sentTo = 0;
    const write = (): Promise<void> => {
      if (++sentTo === PLACES) resolve();
      return new Promise(() => {});
    };
    for (let i = 0; i < PLACES; i++) {
      sends.push(sender.send(REQUEST, write, never).catch((err: unknown) => err));
    }
  });
  return sends;
}

describe('blob sender', () => {
  test('gives the places of nodes that take nothing for a minute to those that wait', async () => {
    const { sender, clock } = await scene();
    const stalled = await occupy(sender);
    const taken: string[] = [];
    const waiting = sender.send(REQUEST, async (bytes) => void taken.push(String(bytes)), never);
    await clock.advance(59_999);
    expect(taken).toEqual([]);
    await clock.advance(1);
    await waiting;
    expect(taken).toEqual(['content']);
    for (const failure of await Promise.all(stalled)) {
      expect(failure).toMatchObject({ code: 'deadline-exceeded' });
    }
    expect(clock.pending).toBe(0);
  });

  test.each([
    ['what was fetched for others', true, 1],
    ['what was here', false, 0],
  ])('tells of an arrival on the disk: %s', async (_, isFetched, arrived) => {
    const { sender, arrivals } = await scene(isFetched);
    const origin = { domain: 'r', path: 'web', auth: null, sizeBytes: 7, isManifest: false };
    await sender.send({ ...REQUEST, origin }, async () => {}, never);
    expect(arrivals()).toBe(arrived);
  });
});
