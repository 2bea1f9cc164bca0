/**
 * Images of programs that people run, from the Debian packages of this machine's own sources. Root, because owners and devices
 * are made.
 */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run, succeeded } from './cluster.ts';
import { unpackPackages } from './debian-packages.ts';
import { type BusyboxImageOptions, buildBusyboxImage } from './image-builder.ts';
import { programPath } from './programs.ts';

const SOURCES = '/etc/apt';
const LIMIT_MS = 240_000;
const NOT_NEEDED = ['man', 'doc', 'locale', 'info'].map(
  (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
);

export const hasDebianPackages = programPath('apt-get') !== null;

export interface DebianImageOptions
  extends Pick<BusyboxImageOptions, 'name' | 'outTar' | 'cmd' | 'exposedPorts'> {
  readonly packages: readonly string[];
}

/** Rejects when packages cannot be had. */
export async function buildDebianImage(options: DebianImageOptions): Promise<void> {
  const { packages, ...image } = options;
  const workDir = mkdtempSync('/var/tmp/skep-debian-');
  try {
    chmodSync(workDir, 0o755); // apt downloads as a user of its own
    const root = join(workDir, 'root.tar');
    const builder = programPath('mmdebstrap') ?? (await downloadedBuilder(workDir));
    const what = ['--quiet', '--variant=minbase', `--include=${packages.join(',')}`, ...NOT_NEEDED];
    const argv = [builder, ...what, release(), root, ...sources()];
    succeeded(await run(argv, { limitMs: LIMIT_MS, env: { TMPDIR: workDir } }));
    buildBusyboxImage({ ...image, empty: true, tars: [readFileSync(root)] });
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
}

async function downloadedBuilder(workDir: string): Promise<string> {
  return join(await unpackPackages(workDir, ['mmdebstrap']), 'usr/bin/mmdebstrap');
}

/** As `trixie`. */
function release(): string {
  const name = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (name === undefined) throw new Error('/etc/os-release names no release of Debian');
  return name;
}

/** Files that say where packages come from, of both forms. */
function sources(): string[] {
  const parts = join(SOURCES, 'sources.list.d');
  const named = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  const all = [join(SOURCES, 'sources.list'), ...named];
  return all.filter((path) => /\.(list|sources)$/.test(path) && existsSync(path));
}
