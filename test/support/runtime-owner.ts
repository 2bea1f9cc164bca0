/**
 * A second process that owns a runtime with two containers, `adopted` (running) and `waiting` (created), and
 * dies by SIGKILL. Its code may be that of another release.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RuntimeBox } from './runtime-box.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

const ownerSource = (root: string): string => `
import { NativeRuntime } from '${join(root, 'worker/runtime/native-runtime.ts')}';
import { defaultProcess, defaultSpec } from '${join(root, 'worker/runtime/defaults.ts')}';
import { SystemClock } from '${join(root, 'common/base/clock.ts')}';
import { silentLogger } from '${join(root, 'common/base/log.ts')}';
const [stateDir, cgroupParent, lower, script, stdio] = process.argv.slice(2);
const runtime = new NativeRuntime({ stateDir, cgroupParent, clock: new SystemClock(), log: silentLogger, onFailure() {} });
await runtime.start();
const plain = defaultSpec([lower], defaultProcess(['sh', '-c', script]));
const terminal = { ...plain, process: { ...plain.process, terminal: true, openStdin: true } };
const spec = stdio === 'terminal' ? terminal : plain;
await runtime.create('adopted', { spec, logMaxBytes: 1000000, logMaxFiles: 2 });
await runtime.create('waiting', { spec, logMaxBytes: 1000000, logMaxFiles: 2 });
const state = await runtime.startContainer('adopted');
console.log(state.pid);
setInterval(() => {}, 1000);
`;

/**
 * Stops the box's runtime, has an owner make the containers and kills it. Returns the pid of `adopted`.
 * @param script of both
 * @param root of the sources that the owner runs from
 * @param stdio of both: pipes, or a terminal with an open input
 */
export async function runAndKillOwner(
  box: RuntimeBox,
  script: string,
  root = REPOSITORY,
  stdio: 'pipes' | 'terminal' = 'pipes',
): Promise<number> {
  await box.runtime.stop();
  const file = join(box.dir, 'owner.mts');
  writeFileSync(file, ownerSource(root));
  const order = [box.stateDir, box.cgroupParent, box.lower, script, stdio];
  const args = ['--import', 'tsx', file, ...order];
  const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => owner.once('exit', resolve));
  try {
    return await firstNumber(owner);
  } finally {
    owner.kill('SIGKILL');
    await ended;
  }
}

function firstNumber(owner: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    owner.stdout?.once('data', (text: Buffer) => resolve(Number(text.toString())));
    owner.once('exit', (code) => reject(new Error(`the owner ended with ${code}`)));
  });
}

/** Whether the history that this checkout has goes back to that commit. */
export function hasCommit(commit: string): boolean {
  try {
    execFileSync('git', ['cat-file', '-e', `${commit}^{commit}`], {
      cwd: REPOSITORY,
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false; // no history, or not that far back
  }
}

/** What an owner needs: the sources as they are here, with the programs of its native part that are in `build`. */
export function copySources(dir: string, build: string): string {
  for (const room of ['package.json', 'tsconfig.json', 'common', 'worker', 'native/ffi']) {
    cpSync(join(REPOSITORY, room), join(dir, room), { recursive: true });
  }
  cpSync(build, join(dir, 'native/build'), { recursive: true });
  symlinkSync(join(REPOSITORY, 'node_modules'), join(dir, 'node_modules'));
  return dir;
}

/** What an owner needs of a former release, with its native part built, below `dir`. Returns its root. */
export function checkOutRelease(commit: string, dir: string): string {
  const root = join(dir, commit);
  mkdirSync(root, { recursive: true });
  const rooms = ['package.json', 'tsconfig.json', 'common', 'worker', 'native'];
  const archive = execFileSync('git', ['archive', commit, ...rooms], {
    cwd: REPOSITORY,
    maxBuffer: 64 << 20,
  });
  execFileSync('tar', ['-x', '-C', root], { input: archive });
  symlinkSync(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
  execFileSync('make', ['-s', '-C', join(root, 'native')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return root;
}
