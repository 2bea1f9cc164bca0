// Containers whose shim and daemon were those of an earlier release, under the daemon of today.
import { existsSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/cluster.ts';
import {
  ALL_LOGS,
  execResult,
  execSpec,
  RuntimeBox,
  runtimeTestsCanRun,
} from '../support/runtime-box.ts';
import { checkOutRelease, hasCommit, runAndKillOwner } from '../support/runtime-owner.ts';

/** The last commits that spoke a version of the protocol, or started their shims in another way; of today's version the first. */
const RELEASES = [
  { commit: '23a81ad12732770672d3a719ecdb0d6beae59697', name: 'protocol 1', resizes: false },
  { commit: 'e6720eec9e58b2727a6d8060442990b77b6e6f6c', name: 'protocol 2', resizes: false },
  {
    commit: '81c4a07c17832d7a35f78c74c4d89f64a2d3e182',
    name: 'protocol 3, each shim made for its container',
    resizes: true,
  },
  {
    commit: 'c22de5f11f416ee03af69f0405745b802161c046',
    name: 'protocol 3, shims made ahead',
    resizes: true,
  },
  {
    commit: 'cbc10bca89c16341f1e38a170eb13566db700921',
    name: 'protocol 4, as it began',
    resizes: true,
  },
];

/** Counts aloud; ends with 9 when it is told to stop. */
const SCRIPT = `trap 'echo stopping; exit 9' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done`;

describe.skipIf(!runtimeTestsCanRun)('a container of an earlier release', () => {
  let box: RuntimeBox;
  beforeEach(async () => {
    box = await RuntimeBox.open();
  });
  afterEach(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  test.for(RELEASES)(
    '$name: taken up, executed in, followed, frozen, stopped, started, removed',
    {
      timeout: 120_000,
    },
    async ({ commit, resizes }, { skip }) => {
      skip(!hasCommit(commit), `this checkout has no history back to ${commit}`);
      const root = checkOutRelease(commit, box.dir);
      const pid = await runAndKillOwner(box, SCRIPT, root);
      box.runtime = box.newRuntime();
      await box.runtime.start();
      const { runtime } = box;
      expect(runtime.get('adopted')).toMatchObject({ status: 'running', pid });
      expect(runtime.get('adopted')?.startedAtMs).toBeGreaterThan(0);
      expect(runtime.get('waiting')).toMatchObject({ status: 'created' });

      const line = await execResult(
        await runtime.exec('adopted', execSpec(['sh', '-c', 'echo out; echo err >&2; exit 3'])),
      );
      expect(line).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 3 });
      const echo = await runtime.exec('adopted', execSpec(['cat'], { stdin: true }));
      echo.stdin.end('through\n');
      expect(await execResult(echo)).toMatchObject({ stdout: 'through\n', exitCode: 0 });
      const missing = runtime.exec('adopted', execSpec(['nowhere']));
      await expect(missing).rejects.toMatchObject({ exitCode: 127 });
      const terminal = await runtime.exec('adopted', execSpec(['stty', 'size'], { tty: true }));
      expect((await execResult(terminal)).exitCode).toBe(0);

      const size = runtime.resize('adopted', 10, 20);
      await expect(size).rejects.toMatchObject({ code: resizes ? 'conflict' : 'unimplemented' });
      // Between two of its children the shell is alone.
      await eventually(
        'the shell and its child',
        () => expect(runtime.stats('adopted')).toMatchObject({ pids: 2 }),
        { withinMs: 10_000 },
      );
      await runtime.freeze('adopted');
      expect(runtime.get('adopted')?.paused).toBe(true);
      await runtime.thaw('adopted');

      const follow = (async () => {
        let text = '';
        for await (const { data } of runtime.logs('adopted', { ...ALL_LOGS, follow: true })) {
          text += Buffer.from(data).toString();
        }
        return text.trimEnd().split('\n');
      })();
      await runtime.signal('adopted', 15);
      expect(await runtime.wait('adopted')).toMatchObject({ exitCode: 9, signal: 0, error: null });
      const lines = await follow;
      expect(lines.pop()).toBe('stopping');
      expect(lines).toEqual(lines.map((_, i) => `${i}`)); // none lost, none twice

      await runtime.startContainer('waiting');
      await runtime.killAll('waiting');
      expect(await runtime.wait('waiting')).toMatchObject({ exitCode: 137, signal: 9 });
      for (const id of ['adopted', 'waiting']) await runtime.remove(id);
      expect(readdirSync(box.stateDir)).toEqual([]);
      expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
      await expect.poll(() => box.shims(), { timeout: 5000 }).toEqual([]);
    },
  );
});
