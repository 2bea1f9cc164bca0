import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkCpuSets, isWithin } from '../../../worker/executor/cpu-sets.ts';

describe('sets of CPUs', () => {
  test.each([
    ['0', '0', true],
    ['0-1,3', '0-3', true],
    ['2-3,8', '0-3,8-9', true],
    ['1', '0', false],
    ['0-4', '0-3', false],
    ['3-8', '0-3,8-9', false],
    ['3-1', '0-3', false],
    ['0,9999999999999', '0-3', false],
  ])('%s of %s: %s', (wanted, available, is) => {
    expect(isWithin(wanted, available)).toBe(is);
  });

  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skep-cpus-'));
    await writeFile(join(dir, 'cpus'), '0-3\n');
  });
  afterAll(() => rm(dir, { recursive: true }));
  const check = (cpusetCpus: string, cpusetMems = '') =>
    checkCpuSets({ cpusetCpus, cpusetMems }, { cpus: join(dir, 'cpus'), mems: join(dir, 'mems') });

  test('what is not here is refused in Docker’s words', async () => {
    await expect(check('0-7')).rejects.toMatchObject({
      code: 'invalid-argument',
      message: 'Requested CPUs are not available - requested 0-7, available: 0-3',
    });
    await writeFile(join(dir, 'mems'), '0\n');
    await expect(check('', '1')).rejects.toThrow(
      'Requested memory nodes are not available - requested 1, available: 0',
    );
    await rm(join(dir, 'mems'));
  });

  test('what is here is taken, and what the kernel has no list of', async () => {
    await expect(check('1,3', '5')).resolves.toBeUndefined();
    await expect(checkCpuSets(null)).resolves.toBeUndefined();
  });
});
