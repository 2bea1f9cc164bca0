// Hostile bytes for what the shim decodes, under the sanitizers: its specs, and the frames on its socket.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
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
import { copySources, runAndKillOwner } from '../support/runtime-owner.ts';

const SEED = 20261128;
const root = join(import.meta.dirname, '../..');
const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

describe('decoders of the shim', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-fuzz-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const program = join(dir, 'fuzz');
  const shim = (file: string) => join(root, 'native/src/shim', file);
  const sources = [join(root, 'test/support/shim-decoder-fuzz.c'), shim('spec.c'), shim('util.c')];
  const flags = ['-std=gnu11', '-g', '-O1', '-D_GNU_SOURCE', `-I${join(root, 'native/include')}`];
  const built = spawnSync('cc', [...flags, ...SANITIZERS, '-o', program, ...sources], {
    encoding: 'utf8',
  });

  test.skipIf(!hasCompiler)(
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

/** A shim has no environment: what the sanitizers do at a fault is built in. Leaks are none: its end frees all. */
const SANITIZER_OPTIONS = (log: string): string => `
const char *__asan_default_options(void) { return "detect_leaks=0:log_path=${log}"; }
const char *__ubsan_default_options(void) { return "print_stacktrace=1:log_path=${log}"; }
`;

/** The whole shim under the sanitizers. Throws with the compiler's words. */
function buildSanitizedShim(dir: string): void {
  mkdirSync(join(dir, 'build'));
  copyFileSync(join(root, 'native/build/libskep.so'), join(dir, 'build/libskep.so'));
  const options = join(dir, 'options.c');
  writeFileSync(options, SANITIZER_OPTIONS(join(dir, 'fault')));
  const folder = join(root, 'native/src/shim');
  const sources = readdirSync(folder).filter((name) => name.endsWith('.c'));
  const flags = ['-std=gnu11', '-g', '-O1', '-D_GNU_SOURCE', `-I${join(root, 'native/include')}`];
  const files = [options, ...sources.map((name) => join(folder, name))];
  execFileSync('cc', [...flags, ...SANITIZERS, '-o', join(dir, 'build/skep-shim'), ...files]);
}

describe.skipIf(!runtimeTestsCanRun)('the socket of a shim', () => {
  let box: RuntimeBox;
  let dir: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-fuzz-'));
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    rmSync(dir, { recursive: true });
  });

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

  test.skipIf(!hasCompiler)(
    'frames of nonsense cut off who sent them, and nobody else, and reach nothing out of bounds',
    {
      timeout: 120_000,
    },
    async () => {
      buildSanitizedShim(dir);
      const sources = copySources(join(dir, 'sources'), join(dir, 'build'));
      await runAndKillOwner(box, 'read x; sleep 1000', sources, 'terminal');
      box.runtime = box.newRuntime();
      await box.runtime.start();
      const [shim] = box.shims();
      expect(readFileSync(`/proc/${shim}/maps`, 'utf8')).toContain('libasan');
      const random = new SeededRandom(SEED);
      const bytes = (length: number) => Buffer.from(random.bytes(length));
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
        await send('adopted', frames[random.below(frames.length)] ?? bytes(1));
      }
      expect(readdirSync(dir).filter((name) => name.startsWith('fault'))).toEqual([]);
      expect(box.runtime.get('adopted')).toMatchObject({ status: 'running' });
      const session = await box.runtime.exec('adopted', execSpec(['echo', 'here']));
      expect(await execResult(session)).toMatchObject({ stdout: 'here\n', exitCode: 0 });
      await box.runtime.killAll('adopted');
      expect(await box.runtime.wait('adopted')).toMatchObject({ exitCode: 137 });
      expect(readdirSync(dir).filter((name) => name.startsWith('fault'))).toEqual([]);
    },
  );
});
