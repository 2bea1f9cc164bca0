import { describe, expect, test } from 'vitest';
import { viaScratch } from '../../../native/ffi/scratch.ts';

describe('scratch buffers', () => {
  test('what was written stays as it was when the buffer is used again', async () => {
    let first: Buffer | null = null;
    const one = await viaScratch(1000, async (room) => {
      first = room;
      return room.write('one');
    });
    const two = await viaScratch(1000, async (room) => {
      expect(room).toBe(first);
      return room.write('other');
    });
    expect([one.toString(), two.toString()]).toEqual(['one', 'other']);
  });

  test('two at once have a buffer each; one that failed is used again', async () => {
    const rooms: Buffer[] = [];
    const failing = viaScratch(2000, async (room) => {
      rooms.push(room);
      throw new Error('no answer');
    });
    const working = viaScratch(2000, async (room) => {
      rooms.push(room);
      return 0;
    });
    await expect(failing).rejects.toThrow('no answer');
    expect(await working).toHaveLength(0);
    expect(rooms[0]).not.toBe(rooms[1]);
    await viaScratch(2000, async (room) => {
      expect(rooms).toContain(room);
      return 0;
    });
  });
});
