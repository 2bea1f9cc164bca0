/**
 * For root suites of the runtime: a busybox root directory, a runtime with its own state directory
 * and group, and the removal of all of it. Nothing is found by name; only what was made here goes.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import {
  type ExecSession,
  type ExecSpec,
  type LogQuery,
  NativeRuntime,
} from '../../worker/runtime/native-runtime.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import type { OciRuntime } from '../../worker/runtime/oci-config.ts';

const APPLETS =
  'sh true false echo sleep cat ls id mount env hostname ps head tail readlink pwd dd kill mkdir ' +
  'touch rm grep wc tr yes seq stat umount mknod date test cut sort chmod chown ln df ip unshare stty tty';

/** Both needed for every suite that uses this file. */
export const runtimeTestsCanRun = process.getuid?.() === 0;

export class RuntimeBox {
  readonly dir: string;
  readonly lower: string;
  readonly cgroupParent: string;
  runtime: NativeRuntime;
  readonly failures: unknown[] = [];
  /** what makes the containers; null = our own shim */
  ociRuntime: OciRuntime | null = null;

  private constructor() {
    this.dir = mkdtempSync('/var/tmp/skep-runtime-');
    this.lower = join(this.dir, 'lower');
    this.cgroupParent = `skep-test-${process.pid}-${this.dir.slice(-6)}`;
    this.runtime = this.newRuntime();
  }

  static async open(): Promise<RuntimeBox> {
    const box = new RuntimeBox();
    for (const dir of ['bin', 'etc', 'tmp', 'root']) {
      mkdirSync(join(box.lower, dir), { recursive: true });
    }
    copyFileSync('/usr/bin/busybox', join(box.lower, 'bin/busybox'));
    for (const applet of APPLETS.split(' ')) symlinkSync('busybox', join(box.lower, 'bin', applet));
    writeFileSync(join(box.lower, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    await box.runtime.start();
    return box;
  }

  /** Where our groups may be: v1 and hybrid machines, then v2. */
  cgroupDirs(): string[] {
    const root = '/sys/fs/cgroup';
    const mounts = existsSync(join(root, 'cgroup.controllers'))
      ? [root]
      : readdirSync(root).map((name) => join(root, name));
    return mounts.map((mount) => join(mount, this.cgroupParent));
  }

  /** Pids of its containers' shims, by their command line. */
  shims(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
          return words[0] === 'skep-shim' && (words[1] ?? '').startsWith(this.stateDir);
        } catch {
          return false; // it ended just now
        }
      })
      .map(Number);
  }

  get stateDir(): string {
    return join(this.dir, 'tasks');
  }

  newRuntime(): NativeRuntime {
    return new NativeRuntime({
      random: new SystemRandom(),
      stateDir: this.stateDir,
      cgroupParent: this.cgroupParent,
      clock: new SystemClock(),
      log: silentLogger,
      onFailure: (err) => this.failures.push(err),
    });
  }

  /** A container of `sh -c script` with every default, changed by `change`. */
  async run(id: string, script: string, change: (spec: OciSpec) => OciSpec = (s) => s) {
    await this.create(id, ['sh', '-c', script], change);
    return this.runtime.startContainer(id);
  }

  create(id: string, args: string[], change: (spec: OciSpec) => OciSpec = (s) => s) {
    const spec = change(defaultSpec([this.lower], defaultProcess(args)));
    const bundle = { spec, logMaxBytes: 1_000_000, logMaxFiles: 2 };
    const { ociRuntime } = this;
    return this.runtime.create(id, ociRuntime ? { ...bundle, runtime: ociRuntime } : bundle);
  }

  /** Runs `script` to its end; its output and exit. */
  async output(id: string, script: string, change?: (spec: OciSpec) => OciSpec) {
    await this.run(id, script, change);
    const exit = await this.runtime.wait(id);
    return { exit, text: await this.logText(id), lines: (await this.logText(id)).split('\n') };
  }

  async logText(id: string, query: Partial<LogQuery> = {}): Promise<string> {
    let text = '';
    for await (const record of this.runtime.logs(id, { ...ALL_LOGS, ...query })) {
      text += Buffer.from(record.data).toString();
    }
    return text.trimEnd();
  }

  /** Kills and removes every container, then checks nothing: the suites do. */
  async close(): Promise<void> {
    for (const { id, status } of this.runtime.list()) {
      if (status !== 'exited') await this.runtime.killAll(id);
      await this.runtime.remove(id);
    }
    await this.runtime.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export const ALL_LOGS: LogQuery = {
  follow: false,
  tail: 'all',
  sinceNanos: null,
  untilNanos: null,
  stdout: true,
  stderr: true,
};

export function execSpec(args: string[], change: Partial<ExecSpec> = {}): ExecSpec {
  return {
    args,
    env: [],
    cwd: '',
    user: null,
    tty: false,
    stdin: false,
    privileged: false,
    consoleSize: null,
    ...change,
  };
}

/** Both outputs and the exit code of an exec. */
export async function execResult(session: ExecSession) {
  const collect = async (stream: AsyncIterable<Buffer>): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const [stdout, stderr, end] = await Promise.all([
    collect(session.stdout),
    collect(session.stderr),
    session.wait(),
  ]);
  return { stdout, stderr, exitCode: end.exitCode };
}
