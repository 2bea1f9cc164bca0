/** The runner of scenario scripts: what counts as a failure, how it is told, what is refused. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { diffLines } from '../../support/line-diff.ts';
import {
  checkScript,
  findScripts,
  regenerateScript,
  ScriptInputError,
} from '../../support/raft-conformance.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const SCRIPT = `# Three nodes elect one.
log-level info
----
ok

add-nodes 3 voters=(1,2,3) index=2
----
INFO 1 switched to configuration voters=(1 2 3)
INFO 1 became follower at term 0
INFO newRaft 1 [peers: [1,2,3], term: 0, commit: 2, applied: 2, lastindex: 2, lastterm: 1]
INFO 2 switched to configuration voters=(1 2 3)
INFO 2 became follower at term 0
INFO newRaft 2 [peers: [1,2,3], term: 0, commit: 2, applied: 2, lastindex: 2, lastterm: 1]
INFO 3 switched to configuration voters=(1 2 3)
INFO 3 became follower at term 0
INFO newRaft 3 [peers: [1,2,3], term: 0, commit: 2, applied: 2, lastindex: 2, lastterm: 1]

hard-state 1
----
Term:0 Commit:0
`;

const temporaryFolder = temporaryFolders();

async function scriptWith(text: string): Promise<string> {
  const path = join(await temporaryFolder(), 'one.txt');
  writeFileSync(path, text);
  return path;
}

async function check(text: string, exact: boolean): Promise<string[]> {
  const { failures } = checkScript(await scriptWith(text), { exact });
  return failures.map(({ line, command, diff }) => `${line}: ${command}\n${diff}`);
}

describe('runner of raft scenario scripts', () => {
  test('passes a script whose outputs come out, and counts its directives', async () => {
    const report = checkScript(await scriptWith(SCRIPT), { exact: true });
    expect(report).toMatchObject({ directives: 3, failures: [] });
  });

  test('tells each other output with its line and the difference', async () => {
    expect(await check(SCRIPT.replace('Term:0 Commit:0', 'Term:1 Commit:0'), false)).toEqual([
      '18: hard-state\n-Term:1 Commit:0\n+Term:0 Commit:0',
    ]);
  });

  test('a missing log line counts only when logs are compared', async () => {
    const without = SCRIPT.replace('INFO 2 became follower at term 0\n', '');
    expect(await check(without, false)).toEqual([]);
    expect(await check(without, true)).toEqual([
      expect.stringContaining('+INFO 2 became follower'),
    ]);
    // A directive with nothing but log lines says `ok` without them.
    expect(await check(SCRIPT.replace(/(?<=index=2\n----\n)(INFO.*\n)+/, 'ok\n'), false)).toEqual(
      [],
    );
  });

  test('a failed assertion of the core is told like an output', async () => {
    const broken = `${SCRIPT}\nload-log 1 commit=9\n1\n----\nok\n`;
    const path = await scriptWith(broken);
    expect(await check(broken, true)).toEqual([
      expect.stringMatching(/\+panic: raft log: commit 9/),
    ]);
    expect(() => regenerateScript(path)).toThrow(ScriptInputError);
  });

  test('rewrites outputs in place, keeps comments, and then passes', async () => {
    const path = await scriptWith(SCRIPT.replace(/INFO .*\n/g, '').replace('Term:0 Commit:0', 'x'));
    expect(regenerateScript(path)).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe(SCRIPT);
    expect(regenerateScript(path)).toBe(false);
  });

  test('finds scripts in folders below, in order, and refuses a folder without any', async () => {
    const folder = await temporaryFolder();
    expect(() => findScripts(join(folder, 'none'))).toThrow(/none: no such folder$/);
    writeFileSync(join(folder, 'readme.txt'), 'no directives here\n');
    expect(() => findScripts(folder)).toThrow(/holds no scenario script/);
    mkdirSync(join(folder, 'b'));
    for (const name of ['b/2.txt', 'b/1.txt', 'a.txt']) writeFileSync(join(folder, name), SCRIPT);
    expect(findScripts(folder)).toEqual(
      ['a.txt', 'b/1.txt', 'b/2.txt'].map((name) => join(folder, name)),
    );
    expect(() => findScripts(join(folder, 'a.txt'))).toThrow(/not a folder$/);
  });

  test('refuses a directive without output marker', async () => {
    await expect(check(`${SCRIPT}\nraft-state\n`, true)).rejects.toThrow(
      /one\.txt:22: directive without/,
    );
  });

  test('a difference keeps what both sides have', () => {
    expect(diffLines('a\nb\nc\n', 'a\nx\nc\nd\n')).toBe(' a\n-b\n+x\n c\n+d');
  });
});
