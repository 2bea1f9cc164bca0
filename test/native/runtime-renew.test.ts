import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ContainerBundle } from '../../worker/runtime/native-runtime.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const title = runtimeTestsCanRun
  ? 'native runtime: containers that run again'
  : 'native runtime: containers that run again (skipped: needs root)';

const asItWas = (bundle: ContainerBundle): ContainerBundle => bundle;

describe.skipIf(!runtimeTestsCanRun)(title, () => {
  let box: RuntimeBox;
  beforeEach(async () => {
    box = await RuntimeBox.open();
  });
  afterEach(() => box.close());

  test('over what they wrote and logged', async () => {
    const script = 'echo run >> /runs; cat /runs | wc -l; exit $(cat /runs | wc -l)';
    expect((await box.output('again', script)).exit.exitCode).toBe(1);
    for (const exitCode of [2, 3]) {
      await box.runtime.renew('again', asItWas);
      expect(box.runtime.get('again')).toMatchObject({ status: 'created', exit: null });
      await box.runtime.startContainer('again');
      expect((await box.runtime.wait('again')).exitCode).toBe(exitCode);
    }
    expect(await box.logText('again')).toBe('1\n2\n3');
  });

  test('without what they wrote to memory', async () => {
    const tmpfs = { destination: '/scratch', type: 'tmpfs', source: 'tmpfs', options: [] };
    await box.output('memory', 'ls -A /scratch; echo ran; echo x > /scratch/kept', (spec) => ({
      ...spec,
      mounts: [...spec.mounts, tmpfs],
    }));
    await box.runtime.renew('memory', asItWas);
    await box.runtime.startContainer('memory');
    await box.runtime.wait('memory');
    expect(await box.logText('memory')).toBe('ran\nran');
  });

  test('with what is changed meanwhile', async () => {
    await box.output('changed', 'echo $WORD');
    await box.runtime.renew('changed', (bundle) => {
      const { process } = bundle.spec;
      return { ...bundle, spec: { ...bundle.spec, process: { ...process, env: ['WORD=new'] } } };
    });
    await box.runtime.startContainer('changed');
    await box.runtime.wait('changed');
    expect(await box.logText('changed')).toBe('\nnew');
  });

  test('not while they run', async () => {
    await box.run('busy', 'sleep 100');
    await expect(box.runtime.renew('busy', asItWas)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('stay as they were when they cannot be made', async () => {
    await box.output('stays', 'echo kept > /kept; exit 4');
    const broken = box.runtime.renew('stays', (bundle) => {
      const bind = { destination: '/x', type: 'bind', source: '/no/such', options: ['bind'] };
      return { ...bundle, spec: { ...bundle.spec, mounts: [bind] } };
    });
    await expect(broken).rejects.toThrow('/no/such');
    expect(box.runtime.get('stays')).toMatchObject({ status: 'exited', exit: { exitCode: 4 } });
    await box.runtime.stop();
    box.runtime = box.newRuntime();
    await box.runtime.start();
    expect(box.runtime.get('stays')).toMatchObject({ status: 'exited', exit: { exitCode: 4 } });
    expect(readFileSync(join(box.stateDir, 'stays/upper/kept'), 'utf8')).toBe('kept\n');
  });

  test('are ended ones for the next daemon until they are made', async () => {
    await box.output('between', 'exit 5');
    const exitFile = join(box.stateDir, 'between/exit');
    // The shim tells of an exit before it writes it down.
    await expect.poll(() => existsSync(exitFile), { timeout: 5000, interval: 5 }).toBe(true);
    const exit = readFileSync(exitFile);
    await box.runtime.renew('between', asItWas);
    // As it is on disk when the daemon dies behind the shim's start.
    writeFileSync(exitFile, exit);
    await box.runtime.stop();
    box.runtime = box.newRuntime();
    await box.runtime.start();
    expect(box.runtime.get('between')).toMatchObject({ status: 'exited', exit: { exitCode: 5 } });
    await box.runtime.renew('between', asItWas);
    await box.runtime.startContainer('between');
    expect((await box.runtime.wait('between')).exitCode).toBe(5);
  });

  test('are paused until they are not, also for the next daemon', async () => {
    await box.run('paused', 'while true; do echo tick; sleep 0.05; done');
    await box.runtime.freeze('paused');
    expect(box.runtime.get('paused')).toMatchObject({ status: 'running', paused: true });
    await box.runtime.stop();
    box.runtime = box.newRuntime();
    await box.runtime.start();
    expect(box.runtime.get('paused')).toMatchObject({ status: 'running', paused: true });
    await box.runtime.thaw('paused');
    expect(box.runtime.get('paused')).toMatchObject({ paused: false });
    await box.runtime.freeze('paused');
    await box.runtime.killAll('paused');
    expect(box.runtime.get('paused')).toMatchObject({ status: 'exited', paused: false });
  });
});
