// Shims that wait for their container: whose they are, and that none outlives its daemon.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../common/base/log.ts';
import { SpareShims } from '../../worker/runtime/spare-shims.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

/** Shims without a container whose other end this process holds: they are named by nothing yet. */
function waiting(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const [name, title = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        const isOurs = readlinkSync(`/proc/${pid}/cwd`) === process.cwd();
        // A child of ours is the launcher, which ends as soon as it has forked.
        const [, parent] = /^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
        const isLauncher = Number(parent) === process.pid;
        return name === 'skep-shim' && title.trim() === '' && isOurs && !isLauncher;
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe.skipIf(!runtimeTestsCanRun)('spare shims', () => {
  let shims: SpareShims;
  let before: readonly number[];
  const mine = () => waiting().filter((pid) => !before.includes(pid));
  const seen = () => expect.poll(mine, { timeout: 10_000, interval: 5 });
  beforeEach(() => {
    before = waiting();
    shims = SpareShims.open(silentLogger);
  });
  afterEach(async () => {
    await shims.close();
    await seen().toEqual([]);
  });

  test('there is none before one was needed, then two, and those taken are made up for', async () => {
    expect(mine()).toEqual([]);
    shims.refill();
    await seen().toHaveLength(2);
    const taken = await shims.take();
    shims.refill();
    await seen().toHaveLength(3);
    taken.destroy(); // nobody wants it: it ends
    await seen().toHaveLength(2);
  });

  test('one that was killed is not handed out', async () => {
    shims.refill();
    await seen().toHaveLength(2);
    for (const pid of mine()) process.kill(pid, 'SIGKILL');
    await seen().toEqual([]);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve)); // their ends are heard of
    const socket = await shims.take();
    await seen().toHaveLength(1);
    socket.destroy();
  });

  test('those that are just being made are waited for when they are closed', async () => {
    let isTaken = false;
    const taking = shims.take().then((socket) => {
      isTaken = true;
      return socket;
    });
    shims.refill();
    await shims.close();
    expect(isTaken).toBe(true); // its program could be read to the end
    (await taking).destroy();
  });

  test('what is no order makes it end with a word, not hang', async () => {
    const socket = await shims.take();
    const said = new Promise<Buffer>((resolve) => socket.once('data', resolve));
    socket.write(Buffer.from([1, 0, 0, 0, 99]));
    expect((await said).toString('latin1')).toContain('frame 99 of 1 bytes');
    await seen().toEqual([]);
  });

  test('each container of a runtime gets a shim of its own, and they end with it', async () => {
    const box = await RuntimeBox.open();
    try {
      const ids = ['a', 'b', 'c', 'd', 'e'];
      await Promise.all(ids.map((id) => box.run(id, 'sleep 1000')));
      expect(new Set(box.runtime.list().map(({ pid }) => pid)).size).toBe(ids.length);
      await seen().toHaveLength(2);
    } finally {
      await box.close();
    }
    await seen().toEqual([]);
  });
});
