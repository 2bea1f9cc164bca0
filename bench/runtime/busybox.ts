/** What runs in the containers: a root directory and an image of this machine's static busybox. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const BUSYBOX = '/usr/bin/busybox';
const APPLETS = ['sh', 'true', 'sleep', 'echo', 'yes', 'head', 'cat'];

/** A directory that is a container's whole root. */
export function makeRootfs(dir: string): string {
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev']) {
    mkdirSync(join(dir, name), { recursive: true });
  }
  copyFileSync(BUSYBOX, join(dir, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(dir, 'bin', applet));
  writeFileSync(join(dir, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  return dir;
}
