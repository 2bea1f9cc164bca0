import { describe, expect, test } from 'vitest';
import { wantedIds } from '../../../worker/images/wanted-images.ts';

const never = new AbortController().signal;

function wanted(told: readonly string[] | null | 'no cluster', isMember = true) {
  const peers = told === 'no cluster' ? null : { wantedImages: async () => told };
  const ids: Record<string, string> = { web: 'id-of-web' };
  return wantedIds({ peers, isMember: async () => isMember, idOf: (name) => ids[name] }, never);
}

describe('wanted images', () => {
  test('are those here that the managers name', async () => {
    expect(await wanted(['web', 'elsewhere'])).toEqual(new Set(['id-of-web']));
  });

  test('are not known while no manager says', async () => {
    expect(await wanted(null)).toBe(null);
  });

  test('are none outside of a cluster, so that room can be made there', async () => {
    expect(await wanted('no cluster', false)).toEqual(new Set());
  });

  test('are not known to a member that takes no part yet, or is locked', async () => {
    expect(await wanted('no cluster', true)).toBe(null);
  });
});
