import { describe, expect, test } from 'vitest';
import { bytesInWords, cpusInWords, type Rounding } from '../../../manager/scheduler/words.ts';

describe('amounts in words', () => {
  test.each<[number, Rounding, string]>([
    [0.29e9, 'down', '0.29'],
    [0.29e9, 'up', '0.29'],
    [0.57e9, 'down', '0.57'],
    [1.1e9, 'up', '1.10'],
    [0.299_999_999e9, 'down', '0.29'],
    [0.290_000_001e9, 'up', '0.30'],
    [0.294e9, 'nearest', '0.29'],
    [0.296e9, 'nearest', '0.30'],
    [0, 'down', '0.00'],
    [128e9, 'up', '128.00'],
  ])('%d nano CPUs rounded %s are %s', (nanoCpus, rounding, words) => {
    expect(cpusInWords(nanoCpus, rounding)).toBe(words);
  });

  test('every hundredth of a CPU is its own word, whatever the rounding', () => {
    for (let hundredths = 0; hundredths <= 6400; hundredths++) {
      const words = (hundredths / 100).toFixed(2);
      for (const rounding of ['nearest', 'down', 'up'] as const) {
        expect(cpusInWords(hundredths * 1e7, rounding)).toBe(words);
      }
    }
  });

  test.each<[number, Rounding, string]>([
    [512 * 2 ** 20, 'nearest', '512 MiB'],
    [1.5 * 2 ** 30, 'down', '1.50 GiB'],
    [2 ** 30 + 1, 'down', '1.00 GiB'],
    [2 ** 30 + 1, 'up', '1.01 GiB'],
    [1000, 'up', '1000 bytes'],
  ])('%d bytes rounded %s are %s', (bytes, rounding, words) => {
    expect(bytesInWords(bytes, rounding)).toBe(words);
  });
});
