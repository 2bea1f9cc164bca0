/** Programs of Debian that a benchmark compares with, or measures by. */
import { runProgram } from './cleanup.ts';
import { say } from './report.ts';

/** Installs the package when its program is missing. */
export async function requirePackage(program: string, name: string): Promise<void> {
  try {
    await runProgram('sh', ['-c', `command -v ${program}`]);
  } catch {
    say(`installs ${name}`);
    await runProgram('apt-get', ['install', '-y', '--no-install-recommends', name]);
  }
}
