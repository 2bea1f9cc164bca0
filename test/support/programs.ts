/** Programs of this machine that suites compare us with, or have work done by. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const DIRECTORIES = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/bin'];

/** null = it is not installed */
export function programPath(name: string): string | null {
  const paths = DIRECTORIES.map((dir) => join(dir, name));
  return paths.find((path) => existsSync(path)) ?? null;
}
