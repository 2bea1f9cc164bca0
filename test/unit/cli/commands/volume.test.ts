import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exportVolume, importVolume } from '../../../../cli/commands/volume.ts';
import { runCommand } from '../../../support/cli-command.ts';

describe('volumes as archives', () => {
  let cwd: string;
  beforeAll(() => {
    cwd = mkdtempSync(join(tmpdir(), 'skep-volumes-'));
  });
  afterAll(() => rmSync(cwd, { recursive: true }));

  const engine = () => {
    const imported: unknown[] = [];
    return {
      imported,
      volumeExport: async (name: string) => Readable.from([Buffer.from(`of ${name}`)]),
      volumeImport: async (name: string, tar: Readable, force: boolean) => {
        imported.push([name, await text(tar), force]);
      },
    };
  };

  test('one is written to a file, or to standard output where that is no terminal', async () => {
    const words = ['data', '-o', 'data.tar'];
    expect(await runCommand(exportVolume, words, { engine: engine(), cwd })).toMatchObject({
      status: 0,
    });
    expect(readFileSync(join(cwd, 'data.tar'), 'utf8')).toBe('of data');
    expect(await runCommand(exportVolume, ['data'], { engine: engine(), cwd })).toMatchObject({
      ...{ status: 0, stdout: 'of data' },
    });
    const terminal = { columns: 80, rows: 24 };
    const refused = await runCommand(exportVolume, ['data'], { engine: engine(), cwd, terminal });
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain('refusing to save to a terminal');
  });

  test('one is filled from a file, or from standard input', async () => {
    const fake = engine();
    writeFileSync(join(cwd, 'in.tar'), 'tar');
    const world = { engine: fake, cwd, stdin: 'piped' };
    expect(await runCommand(importVolume, ['data', 'in.tar'], world)).toMatchObject({
      ...{ status: 0, stdout: 'data\n' },
    });
    await runCommand(importVolume, ['data', '-f'], world);
    await runCommand(importVolume, ['data', '-'], world);
    expect(fake.imported).toEqual([
      ['data', 'tar', false],
      ['data', 'piped', true],
      ['data', 'piped', false],
    ]);
    const missing = await runCommand(importVolume, ['data', 'none.tar'], world);
    expect(missing.stderr).toContain('none.tar');
    expect(fake.imported).toHaveLength(3);
  });
});
