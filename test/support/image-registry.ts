/**
 * Debian's docker-registry as a child of the test, on loopback: the independent peer of our client.
 * Ended by its pid; its files live in a folder that the test gives.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { programPath } from './programs.ts';

export const hasDockerRegistry = programPath('docker-registry') !== null;
export const hasSkopeo = programPath('skopeo') !== null;

/** alice:secret, as `htpasswd -B` writes it. */
const ALICE = 'alice:$2y$05$pA/Nd75GiObpA8Hvd8W4hOYETuIMWWeKcefP9lvrIasMb6PSGkBNu\n';

export interface TestRegistryOptions {
  readonly dir: string;
  /** ask for alice:secret, or for whom these lines of htpasswd name; default false */
  readonly basicAuth?: boolean | string;
  /** in its answers to who is nobody; default `test` */
  readonly realm?: string;
  /** PEM files; default plain HTTP */
  readonly tls?: {
    readonly certificate: string;
    readonly key: string;
    /** authority whose clients alone are let in; default: anybody */
    readonly clientCa?: string;
  };
}

export interface TestRegistry {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** By its own access log: how often each blob of a repository was given, in whole or in part. */
  blobsServed(repository: string): ReadonlyMap<string, number>;
  /** Removes what no manifest names, while it does not run. */
  collectGarbage(): void;
  stop(): Promise<void>;
}

/** `... "GET /v2/web/blobs/sha256:0a... HTTP/1.1" 200 ...`, as Apache writes it. */
const SERVED_BLOB = /"GET \/v2\/(\S+)\/blobs\/(sha256:[0-9a-f]{64}) HTTP\/[\d.]+" 20[06] /g;

/** Resolves when the registry answers. */
export async function startRegistry(options: TestRegistryOptions): Promise<TestRegistry> {
  const port = await freePort();
  const config = join(options.dir, 'registry.yml');
  mkdirSync(options.dir, { recursive: true });
  const users = typeof options.basicAuth === 'string' ? options.basicAuth : ALICE;
  writeFileSync(join(options.dir, 'htpasswd'), users);
  writeFileSync(config, JSON.stringify(registryConfig(options, port))); // JSON is YAML
  const accessLog = join(options.dir, 'access.log');
  const log = openSync(accessLog, 'w');
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', log, 'ignore'] });
  closeSync(log);
  await answering(port, child);
  const blobsServed = (repository: string): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const [, name, digest] of readFileSync(accessLog, 'utf8').matchAll(SERVED_BLOB)) {
      if (name === repository) counts.set(digest!, (counts.get(digest!) ?? 0) + 1);
    }
    return counts;
  };
  const collectGarbage = (): void => {
    execFileSync('docker-registry', ['garbage-collect', config], { stdio: 'ignore' });
  };
  return { host: `127.0.0.1:${port}`, blobsServed, collectGarbage, stop: () => stop(child) };
}

function registryConfig(options: TestRegistryOptions, port: number): object {
  const { tls } = options;
  return {
    version: '0.1',
    log: { level: 'error' },
    storage: {
      filesystem: { rootdirectory: join(options.dir, 'data') },
      delete: { enabled: true },
    },
    http: {
      addr: `127.0.0.1:${port}`,
      ...(tls && {
        tls: {
          certificate: tls.certificate,
          key: tls.key,
          ...(tls.clientCa && { clientcas: [tls.clientCa] }),
        },
      }),
    },
    ...(options.basicAuth && {
      auth: {
        htpasswd: { realm: options.realm ?? 'test', path: join(options.dir, 'htpasswd') },
      },
    }),
  };
}

async function answering(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended: ${child.exitCode}`);
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('docker-registry does not answer');
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

/** Pushes a docker-archive with skopeo. @param target `web:1` */
export function push(
  registry: TestRegistry,
  archive: string,
  target: string,
  ...more: readonly string[]
): void {
  const arguments_ = ['copy', '-q', '--dest-tls-verify=false', ...more];
  execFileSync('skopeo', [
    ...arguments_,
    `docker-archive:${archive}`,
    `docker://${registry.host}/${target}`,
  ]);
}
