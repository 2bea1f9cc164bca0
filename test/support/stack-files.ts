/** Stack files in memory: the request of a load, and files that it may read. */
import { dirname, resolve } from 'node:path';
import type { StackRequest } from '../../cli/compose/stack.ts';

export interface StackFiles {
  /** by name, relative to /src; the first is the stack file unless `named` says otherwise */
  readonly files: Readonly<Record<string, string>>;
  readonly named?: readonly string[];
}

/** A load of the stack `shop` in /src. */
export function stackRequestOf(
  { files, named = Object.keys(files).slice(0, 1) }: StackFiles,
  change: Partial<StackRequest> = {},
): StackRequest {
  const dir = resolve('/src', dirname(named[0] ?? ''));
  return {
    name: 'shop',
    files: named.map((path) => ({
      path,
      text: files[path] ?? '',
      location: resolve('/src', path),
    })),
    dir,
    env: { HOME: '/home/me', TAG: '2', PASSED: 'through', EMPTY: '' },
    envFiles: null,
    profiles: [],
    readFile: (path) => {
      const name = Object.keys(files).find((known) => resolve('/src', known) === path);
      if (name === undefined) throw Object.assign(new Error('no file'), { code: 'ENOENT' });
      return Buffer.from(files[name]!);
    },
    fixWhitespace: false,
    interpolate: true,
    ignoreRefused: false,
    ...change,
  };
}
