/**
 * Debian's docker-registry as a child of the test, on loopback: the independent peer of our client.
 * Ended by its pid; its files live in a folder that the test gives.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { programPath } from './programs.ts';

export const hasDockerRegistry = programPath('docker-registry') !== null;
export const hasSkopeo = programPath('skopeo') !== null;

/** alice:secret, as `htpasswd -B` writes it. */
const HTPASSWD = 'alice:$2y$05$pA/Nd75GiObpA8Hvd8W4hOYETuIMWWeKcefP9lvrIasMb6PSGkBNu\n';

export interface TestRegistryOptions {
  readonly dir: string;
  /** ask for alice:secret; default false */
  readonly basicAuth?: boolean;
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
  stop(): Promise<void>;
}

/** Resolves when the registry answers. */
export async function startRegistry(options: TestRegistryOptions): Promise<TestRegistry> {
  const port = await freePort();
  const config = join(options.dir, 'registry.yml');
  mkdirSync(options.dir, { recursive: true });
  writeFileSync(join(options.dir, 'htpasswd'), HTPASSWD);
  writeFileSync(config, JSON.stringify(registryConfig(options, port))); // JSON is YAML
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const host = `127.0.0.1:${port}`;
  await answering(port, child);
  return { host, stop: () => stop(child) };
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
      auth: { htpasswd: { realm: 'test', path: join(options.dir, 'htpasswd') } },
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
