/** The import table of docs/design/architecture.md, held against every source file. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const ROOMS = ['common', 'manager', 'worker', 'native', 'cli', 'daemon'];

/** folder (longest prefix wins) -> folders and files it may import besides itself */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'common/base': [],
  'common/model': ['common/base'],
  'common/wire': ['proto/gen', 'common/model', 'common/base'],
  'common/rpc': ['common', 'proto/gen'],
  'common/pki': ['common', 'proto/gen'],
  'manager/raft': ['common/base'],
  'manager/raftnode': ['manager/raft', 'common', 'proto/gen'],
  'manager/store': ['common/model', 'common/wire', 'common/base'],
  'manager/controlapi': ['manager/store', 'common'],
  'manager/allocator': ['manager/store', 'common'],
  'manager/orchestrator': ['manager/store', 'common'],
  'manager/scheduler': ['manager/store', 'common'],
  'manager/dispatcher': ['manager/store', 'common'],
  'manager/ca': ['manager/store', 'common'],
  'manager/logbroker': ['manager/store', 'common'],
  'manager/netproof': ['manager/store', 'common'],
  manager: ['manager', 'common'],
  'native/ffi': ['common/base'],
  'worker/runtime': ['native/ffi', 'common'],
  'worker/network': ['native/ffi', 'common'],
  'worker/images': ['native/ffi', 'common'],
  'worker/volumes': ['native/ffi', 'common'],
  'worker/executor': [
    'worker/runtime',
    'worker/network',
    'worker/images',
    'worker/volumes',
    'common',
  ],
  'worker/containers': [
    'worker/executor',
    'worker/runtime',
    'worker/network',
    'worker/images',
    'worker/volumes',
    'native/ffi',
    'common',
  ],
  'worker/agent': ['worker/executor/executor.ts', 'common'],
  worker: ['worker', 'native/ffi', 'common'],
  'cli/commands': ['cli/client', 'cli/compose', 'cli/output', 'common/model', 'common/base'],
  'cli/client': ['common'],
  'cli/compose': ['common/model', 'common/base'],
  'cli/output': ['common/model', 'common/base'],
  'cli/dev': ['cli/client', 'common/model', 'common/base'],
  // the agents that it joins are those of real nodes
  'cli/dev/agents': ['cli/client', 'worker/agent', 'worker/executor/executor.ts', 'common'],
  cli: ['cli', 'common'],
  'daemon/engineapi': [
    'manager',
    'worker',
    'daemon/swarm-node.ts',
    'native/ffi/unread.ts', // of its clients' sockets
    'common',
  ],
  daemon: ['manager', 'worker', 'daemon', 'common'],
};

/** Third-party packages have one home. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  '@grpc/grpc-js': ['common/rpc'],
  protobufjs: ['common/wire', 'proto/gen'],
  pino: ['common/base'],
  koffi: ['native/ffi'],
  yaml: ['cli/compose', 'daemon/config-file.ts', 'worker/executor/cdi.ts'],
  '@peculiar/x509': ['common/pki'],
  'reflect-metadata': ['common/pki'],
  'dns-packet': ['worker/network'],
  'find-my-way': ['daemon/engineapi'],
  'ipaddr.js': ['manager', 'worker/network', 'native/ffi', 'common/base', 'common/model'],
  commander: [
    'cli',
    'daemon/options.ts',
    'daemon/dockerd-options.ts',
    'daemon/registry-options.ts',
  ],
  'http-proxy-agent': ['worker/images'],
  'https-proxy-agent': ['worker/images'],
  fzstd: ['worker/images'],
  'tar-fs': ['cli/client'],
  'tar-stream': ['cli/client'],
};

/** Time, chance and environment are parameters; these places make them. */
const IMPURE_HOMES = ['common/base', 'daemon/main.ts', 'cli/main.ts'];
const IMPURE =
  /(?<![.'\w])(?:Date\.now|performance\.now|setTimeout|setInterval|Math\.random|randomUUID|process\.env|AbortSignal\.timeout)\b|new Date\(\)/;

function sourceFiles(dir: string): string[] {
  return readdirSync(join(root, dir)).flatMap((name) => {
    const path = join(dir, name);
    if (statSync(join(root, path)).isDirectory()) return sourceFiles(path);
    return name.endsWith('.ts') ? [path] : [];
  });
}

const files = ROOMS.flatMap(sourceFiles);

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}

function importsOf(path: string): string[] {
  const text = withoutComments(readFileSync(join(root, path), 'utf8'));
  const pattern = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)'([^']+)'/g;
  return Array.from(text.matchAll(pattern), (match) => match[1]!);
}

/** Without `import type`, which the compiler takes out. */
function valueImportsOf(path: string): string[] {
  const text = withoutComments(readFileSync(join(root, path), 'utf8'));
  const pattern = /(?:\b(?:import|export)\s+(?!type\b)[^;']*?\bfrom\s+|\bimport\(?\s*)'([^']+)'/g;
  return Array.from(text.matchAll(pattern), (match) => match[1]!);
}

function withoutStrings(text: string): string {
  return text.replace(/'[^'\n]*'/g, "''").replace(/`[^`]*`/g, '``');
}

const within = (path: string, place: string): boolean =>
  path === place || path.startsWith(`${place}/`);

function ruleOf(path: string): string {
  const fits = Object.keys(MAY_IMPORT).filter((place) => within(path, place));
  const rule = fits.sort((a, b) => b.length - a.length)[0];
  if (!rule) throw new Error(`${path} lies in no room of the import table`);
  return rule;
}

describe('import table', () => {
  test('sees the source tree', () => {
    expect(files.length).toBeGreaterThan(100);
  });

  test('every import of ours is allowed', () => {
    const wrong: string[] = [];
    for (const path of files) {
      const rule = ruleOf(path);
      const allowed = MAY_IMPORT[rule]!;
      for (const target of importsOf(path)) {
        if (!target.startsWith('.')) continue;
        const file = relative(root, join(root, dirname(path), target));
        const own = rule.endsWith('.ts') ? false : within(file, rule);
        if (own || allowed.some((place) => within(file, place))) continue;
        wrong.push(
          `${path} imports ${file}: ${rule} may import ${allowed.join(', ') || 'nothing'}`,
        );
      }
    }
    expect(wrong).toEqual([]);
  });

  test('each third-party package is imported only at home', () => {
    const wrong: string[] = [];
    for (const path of files) {
      for (const target of importsOf(path)) {
        if (target.startsWith('.') || target.startsWith('node:')) continue;
        const name = target.startsWith('@')
          ? target.split('/').slice(0, 2).join('/')
          : target.split('/')[0]!;
        const homes = HOMES[name];
        if (!homes) wrong.push(`${path} imports ${name}, which has no home in the table`);
        else if (!homes.some((home) => within(path, home))) {
          wrong.push(`${path} imports ${name}, whose home is ${homes.join(', ')}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

/** The Raft core is a function of what it is given, or the simulator proves nothing. */
describe('raft core', () => {
  const core = files.filter((path) => within(path, 'manager/raft'));

  /** `core` and all that it runs: imports of types alone leave nothing in the program. */
  function reached(): Set<string> {
    const seen = new Set(core);
    for (const path of seen) {
      for (const target of valueImportsOf(path)) {
        if (target.startsWith('.')) seen.add(relative(root, join(root, dirname(path), target)));
      }
    }
    return seen;
  }

  test('runs nothing but itself and common/base, and no module of Node', () => {
    const all = [...reached()];
    expect(all.length).toBeGreaterThan(core.length); // assertions and errors
    const strange = all.filter((path) => ![...core].includes(path) && !within(path, 'common/base'));
    expect(strange).toEqual([]);
    const bare = all.flatMap((path) =>
      valueImportsOf(path)
        .filter((target) => !target.startsWith('.'))
        .map((target) => `${path} imports ${target}`),
    );
    expect(bare).toEqual([]);
  });

  test('has no clock, timer, chance, promise or global of the process', () => {
    const impure =
      /(?<![.#'\w])(?:Date|performance|Math\.random|set(?:Timeout|Interval|Immediate)|queueMicrotask|Promise|async|await|process|globalThis|console|crypto|fetch|Buffer|Worker|WeakRef|Atomics|structuredClone|Intl)\b(?!')/;
    const wrong = [...reached()].flatMap((path) => {
      const text = withoutStrings(withoutComments(readFileSync(join(root, path), 'utf8')));
      const match = impure.exec(text);
      return match === null ? [] : [`${path}: ${match[0]}`];
    });
    expect(wrong).toEqual([]);
  });
});

describe('banned words', () => {
  test('time, chance and environment are read only where they are made', () => {
    const wrong: string[] = [];
    for (const path of files) {
      if (IMPURE_HOMES.some((home) => within(path, home))) continue;
      const match = IMPURE.exec(withoutComments(readFileSync(join(root, path), 'utf8')));
      if (match) wrong.push(`${path}: ${match[0]}`);
    }
    expect(wrong).toEqual([]);
  });

  // On Node 20 each of these stays with its sources for as long as they live.
  test('signals are joined by abortWith, which lets go of its source', () => {
    const wrong = files.filter((path) =>
      withoutComments(readFileSync(join(root, path), 'utf8')).includes('AbortSignal.any'),
    );
    expect(wrong).toEqual([]);
  });

  test('no work is left for later in the code', () => {
    const word = ['TO', 'DO'].join('');
    const wrong = files.filter((path) => readFileSync(join(root, path), 'utf8').includes(word));
    expect(wrong).toEqual([]);
  });

  test('children are spawned only by the command line', () => {
    const wrong = files
      .filter((path) => !within(path, 'cli'))
      .filter((path) => importsOf(path).includes('node:child_process'));
    expect(wrong).toEqual([]);
  });
});
