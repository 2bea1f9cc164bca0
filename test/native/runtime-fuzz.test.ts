// Hostile bytes for what the shim decodes: its specs, under the sanitizers, and the frames on its socket.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../common/base/random.ts';
import { encodeFrame, encodeRequest, FRAME } from '../../native/ffi/shim-protocol.ts';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { seccompFilter } from '../../worker/runtime/seccomp-filter.ts';
import { encodeProcess, encodeSpec } from '../../worker/runtime/spec-binary.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SEED = 20261128;
const root = join(import.meta.dirname, '../..');

describe('decoders of the shim', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-fuzz-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const program = join(dir, 'fuzz');
  const shim = (file: string) => join(root, 'native/src/shim', file);
  const sources = [join(root, 'test/support/shim-decoder-fuzz.c'), shim('spec.c'), shim('util.c')];
  const flags = ['-std=gnu11', '-g', '-O1', '-D_GNU_SOURCE', `-I${join(root, 'native/include')}`];
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  const built = spawnSync('cc', [...flags, ...sanitizers, '-o', program, ...sources], {
    encoding: 'utf8',
  });

  test.skipIf(built.error !== undefined)(
    'read nothing out of bounds, whatever the bytes',
    () => {
      expect(built.status, built.stderr).toBe(0);
      const spec = defaultSpec(['/layers/a', '/layers/b'], defaultProcess(['sh', '-c', 'true']));
      const seccomp = seccompFilter(spec);
      const cgroup = { cgroup2Dir: '/cg', tasksFiles: ['/t'], oomFile: '/o', mounts: () => [] };
      const whole = encodeSpec(spec, {
        cgroup,
        seccomp,
        logMaxBytes: 1,
        logMaxFiles: 1,
        ociRuntime: '',
      });
      const process = encodeProcess(spec.process, {
        ...{ seccomp, stdin: true, tty: true },
        size: [24, 80],
      });
      writeFileSync(join(dir, 'spec'), whole);
      writeFileSync(join(dir, 'process'), process);
      const files = [join(dir, 'spec'), join(dir, 'process')];
      const run = spawnSync(program, ['20000', `${SEED}`, ...files], { encoding: 'utf8' });
      expect(run.stderr).toBe('');
      expect(run).toMatchObject({ status: 0, stdout: expect.stringMatching(/^20000 rounds/) });
    },
    60_000,
  );
});

describe.skipIf(!runtimeTestsCanRun)('the socket of a shim', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(() => box.close());

  /** Sends bytes on a connection of its own, and waits until they are taken or it is cut off. */
  function send(id: string, bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(join(box.stateDir, id, 'sock'));
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.resume();
      socket.write(bytes, () => setImmediate(() => socket.destroy()));
    });
  }

  test('frames of nonsense cut off who sent them, and nobody else', {
    timeout: 60_000,
  }, async () => {
    const random = new SeededRandom(SEED);
    const bytes = (length: number) => Buffer.from(random.bytes(length));
    await box.run('fuzzed', 'read x; sleep 1000', (spec) => ({
      ...spec,
      process: { ...spec.process, terminal: true, openStdin: true },
    }));
    const types = Object.values(FRAME);
    const signals: number[] = [FRAME.signal, FRAME.execSignal]; // one that is meant would be obeyed
    const harmless = types.filter((type) => !signals.includes(type));
    for (let round = 0; round < 300; round++) {
      const type = harmless[random.below(harmless.length)] ?? FRAME.start;
      const payload = bytes(random.below(61));
      const frames = [
        bytes(1 + random.below(40)),
        encodeFrame(type, payload),
        encodeRequest(type, round, payload),
        Buffer.concat([encodeFrame(FRAME.attach, bytes(4)), encodeRequest(type, round, payload)]),
        encodeFrame(type, payload).subarray(0, -1),
      ];
      await send('fuzzed', frames[random.below(frames.length)] ?? bytes(1));
    }
    expect(box.runtime.get('fuzzed')).toMatchObject({ status: 'running' });
    const session = await box.runtime.exec('fuzzed', execSpec(['echo', 'here']));
    expect(await execResult(session)).toMatchObject({ stdout: 'here\n', exitCode: 0 });
    await box.runtime.killAll('fuzzed');
    expect(await box.runtime.wait('fuzzed')).toMatchObject({ exitCode: 137 });
  });
});
