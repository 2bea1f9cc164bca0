/**
 * `npm run differential [-- --docker] [-- --record] [-- --only WORD]`: the same operations on skep and on
 * Docker Swarm, and what came of them compared field by field. Skep is compared as well, and without `--docker` alone, with
 * what was recorded of it (`expectation.json`) when it was last compared with Docker.
 */
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { endCluster, SKEP, startCluster, type TestCluster } from '../support/cluster.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { KNOWN_DIFFERENCES } from './differences.ts';
import { DockerEngine, NoEngine } from './docker-engine.ts';
import { Engine } from './engine.ts';
import { flatten } from './normal-form.ts';
import { play, type Scenario } from './scenario.ts';
import { OBJECT_SCENARIOS } from './scenarios-objects.ts';
import { SERVICE_SCENARIOS } from './scenarios-services.ts';
import { STACK_SCENARIOS } from './scenarios-stacks.ts';
import { IMAGE, NEXT_IMAGE } from './steps.ts';

const EXPECTATION = join(import.meta.dirname, 'expectation.json');
type Results = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const { values: flags } = parseArgs({
  options: {
    docker: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});
const scenarios = [...SERVICE_SCENARIOS, ...OBJECT_SCENARIOS, ...STACK_SCENARIOS].filter(
  ({ name }) => name.includes(flags.only),
);

async function withImage<T>(use: (archive: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'skep-diff-'));
  try {
    const outTar = join(dir, 'image.tar');
    buildBusyboxImage({ name: IMAGE, alsoNamed: [NEXT_IMAGE], outTar });
    return await use(outTar);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function playAll(engine: Engine, archive: string): Promise<Results> {
  await engine.load(createReadStream(archive));
  const results: Record<string, Record<string, unknown>> = {};
  for (const scenario of scenarios) {
    const startMs = performance.now();
    results[scenario.name] = await play(scenario, engine);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    console.error(`${engine.name}: ${scenario.name} (${seconds} s)`);
  }
  return results;
}

async function onSkep(archive: string): Promise<Results> {
  let cluster: TestCluster | null = null;
  try {
    cluster = await startCluster('diff', { managers: 1, workers: 0 });
    return await playAll(new Engine('skep', cluster.hosts[0]!.socket, SKEP), archive);
  } finally {
    if (cluster) await endCluster(cluster);
  }
}

async function onDocker(archive: string): Promise<Results> {
  const docker = new DockerEngine();
  try {
    await docker.start();
    return await playAll(docker.engine, archive);
  } finally {
    await docker.stop();
  }
}

/** As test programs say that they were skipped. */
const EXIT_SKIPPED = 77;

interface Difference {
  readonly at: string;
  readonly expected: unknown;
  readonly found: unknown;
}

function differencesOf(expected: Results, found: Results): Difference[] {
  const [a, b] = [flatten(pick(expected)), flatten(pick(found))];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((at) => !agree(at, a.get(at), b.get(at)))
    .map((at) => ({ at, expected: a.get(at), found: b.get(at) }));
}

/** Of an error, skep's words may go on after Docker's. */
function agree(at: string, expected: unknown, found: unknown): boolean {
  if (expected === found) return true;
  if (!/\/(message|Err)$/.test(at)) return false;
  if (typeof expected !== 'string' || typeof found !== 'string') return false;
  return found.toLowerCase().startsWith(expected.toLowerCase());
}

function pick(results: Results): Results {
  return Object.fromEntries(scenarios.map(({ name }) => [name, results[name] ?? {}]));
}

function show({ at, expected, found }: Difference, who: string): string {
  const text = (value: unknown): string => (value === undefined ? '-' : JSON.stringify(value));
  return `${at}\n    ${who}: ${text(expected)}\n    skep: ${text(found)}`;
}

function operationsOf(list: readonly Scenario[]): number {
  return list.flatMap(({ steps }) => steps).filter(({ kind }) => kind === 'call').length;
}

const { docker, skep } = await withImage(async (archive) => ({
  docker: flags.docker ? await onDocker(archive) : null,
  skep: await onSkep(archive),
})).catch((err: unknown): never => {
  if (!(err instanceof NoEngine)) throw err;
  console.error(`no Docker engine to compare with: ${err.message}`);
  process.exit(EXIT_SKIPPED);
});
const recorded = JSON.parse(readFileSync(EXPECTATION, 'utf8')) as Results;
let unknown = flags.record ? [] : differencesOf(recorded, skep);
for (const difference of unknown) console.log(show(difference, 'recorded'));
if (docker) {
  const all = differencesOf(docker, skep);
  const fromDocker = all.filter(({ at }) => !KNOWN_DIFFERENCES.some((known) => known.at.test(at)));
  for (const known of KNOWN_DIFFERENCES) {
    const count = all.filter(({ at }) => known.at.test(at)).length;
    if (count > 0) console.log(`known=${count} ${known.why}`);
    else if (flags.only === '') console.log(`known=0 (no longer there) ${known.at}`);
  }
  for (const difference of fromDocker) console.log(show(difference, 'docker'));
  unknown = [...unknown, ...fromDocker];
}
if (flags.record && unknown.length === 0) {
  writeFileSync(EXPECTATION, `${JSON.stringify(skep, null, 2)}\n`);
}
const against = docker ? 'docker,recorded' : 'recorded';
console.log(`operations=${operationsOf(scenarios)} against=${against} unknown=${unknown.length}`);
process.exitCode = unknown.length === 0 ? 0 : 1;
