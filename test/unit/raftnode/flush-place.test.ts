import { describe, expect, test } from 'vitest';
import { FlushPlace } from '../../../manager/raftnode/flush-place.ts';

const SMALL_BYTES = 1200;

function flushed(place: FlushPlace, flushes: number, ms: number): FlushPlace {
  for (let i = 0; i < flushes; i++) place.took(ms);
  return place;
}

describe('where a flush is made', () => {
  test('a disk that nobody knows yet is waited for elsewhere', () => {
    expect(new FlushPlace().isAtOnce(SMALL_BYTES)).toBe(false);
    expect(flushed(new FlushPlace(), 20, 0.1).isAtOnce(SMALL_BYTES)).toBe(false);
  });

  test('a disk that proved quick takes small flushes at once, large ones never', () => {
    const place = flushed(new FlushPlace(), 100, 0.1);
    expect(place.isAtOnce(4096)).toBe(true);
    expect(place.isAtOnce(4097)).toBe(false);
  });

  test('a disk that stood still for a second holds the event loop up once in 75 flushes at most', () => {
    const place = flushed(new FlushPlace(), 100, 0.1);
    place.took(1_000);
    let waited = 0;
    for (; !place.isAtOnce(SMALL_BYTES); waited++) place.took(0.1);
    expect(waited).toBeGreaterThanOrEqual(75);
  });

  test('a slow disk is never waited for by the event loop', () => {
    const place = new FlushPlace();
    for (let i = 0; i < 1_000; i++) {
      place.took(0.6);
      expect(place.isAtOnce(SMALL_BYTES)).toBe(false);
    }
  });
});
