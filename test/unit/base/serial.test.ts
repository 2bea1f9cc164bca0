import { expect, test } from 'vitest';
import { Serial } from '../../../common/base/serial.ts';

/** Work that ends when it is told to. */
function gated(log: string[], name: string) {
  let end: (failure?: Error) => void = () => {};
  const ended = new Promise<void>((resolve, reject) => {
    end = (failure) => (failure ? reject(failure) : resolve());
  });
  const work = async (): Promise<string> => {
    log.push(`${name} begins`);
    await ended;
    log.push(`${name} ends`);
    return name;
  };
  return { work, end };
}

test('work runs one after another in the order of the calls', async () => {
  const log: string[] = [];
  const serial = new Serial();
  const [a, b] = [gated(log, 'a'), gated(log, 'b')];
  const both = [serial.run(a.work), serial.run(b.work)];
  b.end();
  a.end();
  expect(await Promise.all(both)).toEqual(['a', 'b']);
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

test('a failure is its own caller’s alone', async () => {
  const serial = new Serial();
  const failed = serial.run(() => Promise.reject(new Error('EBUSY')));
  const next = serial.run(async () => 'went on');
  await expect(failed).rejects.toThrow('EBUSY');
  await expect(next).resolves.toBe('went on');
});

test('it is idle when what was handed in has ended, well or not', async () => {
  const log: string[] = [];
  const serial = new Serial();
  const last = gated(log, 'last');
  const result = serial.run(last.work);
  const idle = serial.idle().then(() => log.push('idle'));
  last.end(new Error('ECANCELED'));
  await expect(result).rejects.toThrow('ECANCELED');
  await idle;
  expect(log).toEqual(['last begins', 'idle']);
});
