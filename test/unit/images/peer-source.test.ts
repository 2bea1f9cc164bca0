import { describe, expect, test } from 'vitest';
import type { BlobPart } from '../../../common/model/blob.ts';
import type { RpcCalls } from '../../../common/rpc/pool.ts';
import { DOCUMENT_BYTES_MAX } from '../../../worker/images/content-store.ts';
import { PeerSource } from '../../../worker/images/peer-source.ts';

const DIGEST = `sha256:${'7'.repeat(64)}`;

/** A node that sends so many bytes, a MiB at a time, and counts the calls that are still open. */
function node(sizeBytes: number) {
  let leftBytes = sizeBytes;
  const it = { open: 0 };
  const calls = {
    serverStream: async () => {
      it.open++;
      return {
        next: async (): Promise<BlobPart | null> => {
          const data = Buffer.alloc(Math.min(leftBytes, 1024 * 1024));
          leftBytes -= data.length;
          return data.length > 0 ? { data } : null;
        },
        cancel: () => void it.open--,
      };
    },
  } as unknown as Pick<RpcCalls, 'serverStream'>;
  return Object.assign(it, { source: new PeerSource(calls, null) });
}

describe('a manifest from another node', () => {
  test('that is too large is refused, and no call stays open at the node that sends it', async () => {
    const it = node(DOCUMENT_BYTES_MAX + 1);
    await expect(it.source.manifest(DIGEST)).rejects.toMatchObject({ code: 'invalid-argument' });
    expect(it.open).toBe(0);
  });

  test('of the largest size is taken', async () => {
    const it = node(DOCUMENT_BYTES_MAX);
    expect((await it.source.manifest(DIGEST)).length).toBe(DOCUMENT_BYTES_MAX);
    expect(it.open).toBe(0);
  });
});
