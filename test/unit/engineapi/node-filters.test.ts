import { describe, expect, test } from 'vitest';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import { IMAGE_FILTERS, imageTest } from '../../../daemon/engineapi/images.ts';
import { volumeTest } from '../../../daemon/engineapi/volumes.ts';
import { anImage } from '../../support/fake-container-host.ts';

const filters = (given: object): Filters =>
  Filters.parse(JSON.stringify(given), ['name', 'driver', ...IMAGE_FILTERS]);

/** Images that others are compared with are known by the time that they were made at. */
const TIMES = { createdAtMs: Number, nowMs: 10_000 };

const YES_AND_NO: readonly [string, boolean][] = [
  ['true', true],
  ['1', true],
  ['True', true],
  ['false', false],
  ['0', false],
];

describe('the filter dangling', () => {
  const volume = { name: 'data', labels: {}, driver: 'local' as const };
  const untagged = { ...anImage(), repoTags: [] };
  const tagged = { ...anImage(), repoTags: ['box:1'] };

  test.each(YES_AND_NO)('of images and volumes takes %s', (text, isWanted) => {
    const given = filters({ dangling: [text] });
    expect(imageTest(given, TIMES)(untagged)).toBe(isWanted);
    expect(imageTest(given, TIMES)(tagged)).toBe(!isWanted);
    expect(volumeTest(given)({ ...volume, usedBy: [] })).toBe(isWanted);
    expect(volumeTest(given)({ ...volume, usedBy: ['c'] })).toBe(!isWanted);
  });

  test('refuses what is neither yes nor no', () => {
    const words = "invalid filter: 'dangling'='maybe'";
    expect(() => imageTest(filters({ dangling: ['maybe'] }), TIMES)).toThrow(words);
    expect(() => volumeTest(filters({ dangling: ['maybe'] }))).toThrow(words);
  });

  test('shows both where it is not given', () => {
    expect([untagged, tagged].every(imageTest(filters({}), TIMES))).toBe(true);
  });
});

test('volumes are found by expressions', () => {
  const volumes = ['data', 'data2'].map((name) => ({ name }));
  const named = filters({ name: ['^data$'] }).named(volumes, ({ name }) => [name]);
  expect(named).toEqual([{ name: 'data' }]);
});

test.each([
  [{ before: ['3000'] }, [1000, 2000]],
  [{ since: ['1000'] }, [2000, 3000]],
  [{ since: ['1000'], before: ['3000'] }, [2000]],
  [{ until: ['8s'] }, [1000]],
  [{ before: ['3000'], until: ['1s'] }, [1000, 2000]],
])('images are told by when they were made: %j', (given, times) => {
  const images = [1000, 2000, 3000].map((createdAtMs) => ({ ...anImage(), createdAtMs }));
  const found = images.filter(imageTest(filters(given), TIMES));
  expect(found.map(({ createdAtMs }) => createdAtMs)).toEqual(times);
});
