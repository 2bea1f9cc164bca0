/** The docker command to measure beside ours: the one that is installed, else Debian's, unpacked for the run. */
import { join } from 'node:path';
import { unpackPackages } from '../../test/support/debian-packages.ts';
import { runProgram, temporaryDirectory } from '../support/cleanup.ts';
import { say } from '../support/report.ts';

let found: Promise<string | null> | null = null;

/** Its path; null where there is none to be had, which is said. */
export function dockerCommand(): Promise<string | null> {
  found ??= find();
  return found;
}

async function find(): Promise<string | null> {
  try {
    await runProgram('docker', ['--version']);
    return 'docker';
  } catch {
    say('no docker command is installed: unpacks that of docker.io');
  }
  try {
    const root = await unpackPackages(temporaryDirectory('docker'), ['docker.io']);
    const command = join(root, 'usr/bin/docker');
    await runProgram(command, ['--version']);
    return command;
  } catch (err) {
    say(`no docker command to compare with: ${(err as Error).message}`);
    return null;
  }
}
