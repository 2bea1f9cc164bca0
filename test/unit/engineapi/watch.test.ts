import { getEventListeners } from 'node:events';
import { Writable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { PatientWriter, READER_PATIENCE_MS } from '../../../daemon/engineapi/patient-writer.ts';
import { sendChanges, watchFilters } from '../../../daemon/engineapi/watch.ts';
import { FEED_COMMITS_MAX } from '../../../manager/store/feed.ts';
import type { Commit } from '../../../manager/store/types.ts';
import { aSecretSpec, aService, aServiceSpec } from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';
import { settle } from '../../support/fake-clock.ts';

let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

const toJson = ({ changes }: Commit): object => ({ kinds: changes.map(({ kind }) => kind) });

/** A watch on its way to a client; all that it was sent. */
async function follow(kinds: ('service' | 'secret')[] = []) {
  const sent: string[] = [];
  const client = new AbortController();
  const watch = await it.api.watch({ kinds }, undefined);
  const writer = { write: async (chunk: string) => void sent.push(chunk) };
  const done = sendChanges(watch, toJson, writer, it.clock, client.signal);
  await settle();
  return { sent, client, done, watch };
}

describe('the events of a watch', () => {
  test('begin with the revision they go on from, and carry that of their commit', async () => {
    const first = it.store.revision;
    const { sent } = await follow();
    await it.create('service', aService());
    await settle();
    expect(sent).toEqual([
      `id: ${first}\nevent: ready\ndata: {"Revision":${first}}\n\n`,
      `id: ${first + 1}\nevent: commit\ndata: {"kinds":["service"]}\n\n`,
    ]);
  });

  test('in silence move the id every 15 s, past commits that the filters keep back', async () => {
    const { sent, client } = await follow(['service']);
    await it.clock.advance(14_000);
    await it.api.createSecret(aSecretSpec());
    await it.clock.advance(999);
    expect(sent).toHaveLength(1);
    await it.clock.advance(1);
    expect(sent.slice(1)).toEqual([`id: ${it.store.revision}\n\n`]);
    await it.clock.advance(15_000);
    expect(sent).toHaveLength(3);
    expect(getEventListeners(client.signal, 'abort')).toHaveLength(1); // not one for each wait
  });

  test('begin the silence anew with each commit', async () => {
    const { sent } = await follow();
    await it.clock.advance(14_000);
    await it.create('service', aService());
    await it.clock.advance(14_000);
    expect(sent).toHaveLength(2);
    await it.clock.advance(1_000);
    expect(sent).toHaveLength(3);
  });

  test('end with an error for a reader that the feed has left behind', async () => {
    const { sent, done, watch } = await follow();
    const from = watch.revision;
    it.proposer.hold = true;
    const writes = [];
    for (let i = 0; i <= FEED_COMMITS_MAX; i++) {
      const spec = aServiceSpec({ name: `s${i}` });
      writes.push(it.store.update((tx) => tx.create('service', aService({ spec }))));
    }
    it.proposer.release(); // in one turn of the event loop: the reader gets none between them
    await Promise.all(writes);
    await done;
    expect(sent.at(-1)).toMatch(/^event: error\ndata: \{"Code":"compacted","Message":"watch from/);
    expect(sent.at(-1)).toContain(`revision ${from}:`);
    expect(sent.at(-1)).toContain(`"oldestRevision":"${from + 1}"`);
  });

  test('end quietly with their manager, and with the reason when the client goes', async () => {
    const first = await follow();
    first.watch.close();
    await first.done;
    const second = await follow();
    second.client.abort(new Error('gone'));
    await expect(second.done).rejects.toThrow('gone');
  });
});

describe('filters of a watch', () => {
  test('are taken in both encodings, and checked', () => {
    expect(watchFilters('{"kind":{"task":true},"service":["web"]}')).toMatchObject({
      kinds: ['task'],
      services: ['web'],
    });
    expect(() => watchFilters('{"kind":["volume"]}')).toThrow(
      "invalid filter 'kind=volume': it is one of cluster, node, service",
    );
    expect(() => watchFilters('{"action":["destroy"]}')).toThrow('create, update, remove');
    expect(() => watchFilters('{"colour":["red"]}')).toThrow("invalid filter 'colour'");
  });
});

describe('a patient writer', () => {
  const slow = () => {
    const held: (() => void)[] = [];
    const out = new Writable({ highWaterMark: 4, write: (_chunk, _enc, done) => held.push(done) });
    return { out, takeOne: () => held.shift()!() };
  };

  test('waits while the client takes nothing, and goes on when it does', async () => {
    const { out, takeOne } = slow();
    const client = new AbortController();
    const writer = new PatientWriter(out, it.clock, client.signal);
    let written = false;
    const writing = writer.write('12345').then(() => {
      written = true;
    });
    await it.clock.advance(READER_PATIENCE_MS - 1);
    expect(written).toBe(false);
    takeOne();
    await writing;
    expect(it.clock.pending).toBe(0);
    expect(getEventListeners(client.signal, 'abort')).toHaveLength(0);
  });

  test('gives a client up that takes nothing for 30 s', async () => {
    const writer = new PatientWriter(slow().out, it.clock, new AbortController().signal);
    const writing = writer.write('12345');
    const refused = expect(writing).rejects.toMatchObject({ code: 'cancelled' });
    await it.clock.advance(READER_PATIENCE_MS);
    await refused;
  });

  test('says why when the client is gone', async () => {
    const client = new AbortController();
    const writing = new PatientWriter(slow().out, it.clock, client.signal).write('12345');
    client.abort(new Error('gone'));
    await expect(writing).rejects.toThrow('gone');
  });
});
