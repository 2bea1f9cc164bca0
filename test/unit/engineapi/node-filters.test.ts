import { describe, expect, test } from 'vitest';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import { imageTest } from '../../../daemon/engineapi/images.ts';
import { volumeTest } from '../../../daemon/engineapi/volumes.ts';
import { anImage } from '../../support/fake-container-host.ts';

const filters = (given: object): Filters =>
  Filters.parse(JSON.stringify(given), ['name', 'label', 'driver', 'dangling', 'reference']);

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
    expect(imageTest(given)(untagged)).toBe(isWanted);
    expect(imageTest(given)(tagged)).toBe(!isWanted);
    expect(volumeTest(given)({ ...volume, usedBy: [] })).toBe(isWanted);
    expect(volumeTest(given)({ ...volume, usedBy: ['c'] })).toBe(!isWanted);
  });

  test('refuses what is neither yes nor no', () => {
    const words = "invalid filter: 'dangling'='maybe'";
    expect(() => imageTest(filters({ dangling: ['maybe'] }))).toThrow(words);
    expect(() => volumeTest(filters({ dangling: ['maybe'] }))).toThrow(words);
  });

  test('shows both where it is not given', () => {
    expect([untagged, tagged].every(imageTest(filters({})))).toBe(true);
  });
});

test('volumes are found by expressions', () => {
  const volumes = ['data', 'data2'].map((name) => ({ name }));
  const named = filters({ name: ['^data$'] }).named(volumes, ({ name }) => [name]);
  expect(named).toEqual([{ name: 'data' }]);
});
