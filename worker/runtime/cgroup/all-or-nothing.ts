/** Several limits of a running task as one: what a refused one comes after is put back. Knows how the kernel's files are read. */
import { describeError, SkepError } from '../../../common/base/errors.ts';
import { readControl, type WriteControl, writeControl } from './cgroup.ts';

/** Files with a line per block device, and what a device without a line has. */
const UNTHROTTLED: readonly (readonly [RegExp, string])[] = [
  [/\/blkio\.throttle\.[a-z_]+_device$/, '0'],
  [/\/io\.max$/, 'rbps=max wbps=max riops=max wiops=max'],
];

interface Undo {
  readonly file: string;
  readonly value: string;
}

/**
 * When `apply` fails, what it wrote is written back in the reverse order: each state on the way back
 * is one that the kernel took on the way there.
 */
export async function allOrNothing(apply: (write: WriteControl) => Promise<void>): Promise<void> {
  const undos: Undo[] = [];
  try {
    await apply(async (file, value) => {
      const undo = { file, value: formerValue(file, value, (await readControl(file)) ?? '') };
      await writeControl(file, value);
      undos.push(undo);
    });
  } catch (err) {
    await putBack(undos.reverse(), err);
    throw err;
  }
}

async function putBack(undos: readonly Undo[], cause: unknown): Promise<void> {
  for (const { file, value } of undos) {
    try {
      await writeControl(file, value);
    } catch (err) {
      const words = `${describeError(cause)}; what was changed before stays changed: ${describeError(err)}`;
      throw new SkepError('internal', words, { cause });
    }
  }
}

/** What to write into `file` so that it is again as before `value`. @param text what it says now */
function formerValue(file: string, value: string, text: string): string {
  if (file.endsWith('/memory.oom_control')) {
    return /^oom_kill_disable (\d)/m.exec(text)?.[1] ?? '0';
  }
  const unthrottled = UNTHROTTLED.find(([name]) => name.test(file))?.[1];
  const [key = ''] = value.split(' ');
  const line = text.split('\n').find((one) => one.startsWith(`${key} `));
  if (unthrottled !== undefined) return line ?? `${key} ${unthrottled}`;
  if (file.endsWith('/io.weight')) return line ?? text;
  return text === '' ? '\n' : text; // a set of CPUs that is not given; nothing at all is no write
}
