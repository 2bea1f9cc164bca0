import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { ALL_LOGS, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

describe.skipIf(!runtimeTestsCanRun)('native runtime: logs', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(() => box.close());

  async function runWithLog(id: string, script: string, logMaxBytes: number, logMaxFiles: number) {
    const spec = defaultSpec([box.lower], defaultProcess(['sh', '-c', script]));
    await box.runtime.create(id, { spec, logMaxBytes, logMaxFiles });
    await box.runtime.startContainer(id);
  }

  test('keep streams apart, with times that grow', async () => {
    await box.output('streams', 'for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.02; done');
    expect(await box.logText('streams', { stderr: false })).toBe('o1\no2\no3');
    expect(await box.logText('streams', { stdout: false })).toBe('e1\ne2\ne3');
    const times: bigint[] = [];
    for await (const record of box.runtime.logs('streams', ALL_LOGS)) times.push(record.timeNanos);
    expect(times).toEqual([...times].sort((a, b) => Number(a - b)));
    expect(Number(times[0]! / 1_000_000n)).toBeGreaterThan(Date.parse('2024-01-01'));
    const second = times[2]!;
    expect((await box.logText('streams', { sinceNanos: second })).split('\n')).toHaveLength(4);
    expect((await box.logText('streams', { untilNanos: second })).split('\n')).toHaveLength(3);
  });

  test('give the last lines', async () => {
    await box.output('tail', 'seq 1 5000');
    expect(await box.logText('tail', { tail: 3 })).toBe('4998\n4999\n5000');
    expect(await box.logText('tail', { tail: 0 })).toBe('');
    expect((await box.logText('tail')).split('\n')).toHaveLength(5000);
  });

  test('split a line of more than 16 KiB, and keep an unfinished one', async () => {
    await box.output('long', 'head -c 40000 /dev/zero | tr "\\\\000" x; echo; printf unfinished');
    const lengths: number[] = [];
    for await (const record of box.runtime.logs('long', ALL_LOGS)) lengths.push(record.data.length);
    expect(lengths).toEqual([16384, 16384, 40001 - 2 * 16384, 'unfinished'.length]);
  });

  test('are followed until the container ends, from the last lines on', async () => {
    await box.run(
      'follow',
      'echo old; echo last; while [ ! -e /go ]; do sleep 0.02; done; seq 1 200; sleep 0.1; echo end',
    );
    await expect.poll(() => box.logText('follow')).toBe('old\nlast');
    const lines: string[] = [];
    for await (const record of box.runtime.logs('follow', { ...ALL_LOGS, follow: true, tail: 1 })) {
      lines.push(Buffer.from(record.data).toString().trimEnd());
      if (lines.length === 1) {
        writeFileSync(join(box.runtime.rootPath('follow'), 'go'), '');
      }
    }
    expect(lines).toEqual(['last', ...Array.from({ length: 200 }, (_, i) => `${i + 1}`), 'end']);
  });

  test('are followed across rotations without loss', async () => {
    await runWithLog(
      'rotate',
      'i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); [ $((i%50)) = 0 ] && sleep 0.01; done',
      20_000,
      5,
    );
    const lines: string[] = [];
    for await (const record of box.runtime.logs('rotate', { ...ALL_LOGS, follow: true })) {
      lines.push(Buffer.from(record.data).toString().trimEnd());
    }
    expect(lines).toEqual(Array.from({ length: 3000 }, (_, i) => `line-${i}`));
    expect(existsSync(join(box.stateDir, 'rotate/log.4'))).toBe(true);
    expect(existsSync(join(box.stateDir, 'rotate/log.5'))).toBe(false);
  });

  test('keep the newest when they outgrow their files', async () => {
    await runWithLog('bounded', 'seq 1 20000', 50_000, 2);
    await box.runtime.wait('bounded');
    const lines = (await box.logText('bounded')).split('\n');
    expect(lines.at(-1)).toBe('20000');
    expect(lines.length).toBeLessThan(20000);
    const numbers = lines.map(Number);
    expect(numbers).toEqual(Array.from(numbers, (_, i) => numbers[0]! + i));
  });

  test('stop being followed when the reader aborts', async () => {
    await box.run('abort', 'echo once; sleep 1000');
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      const query = { ...ALL_LOGS, follow: true };
      for await (const _ of box.runtime.logs('abort', query, abort.signal)) abort.abort('enough');
    };
    await expect(read()).rejects.toBe('enough');
    await box.runtime.killAll('abort');
  });
});
