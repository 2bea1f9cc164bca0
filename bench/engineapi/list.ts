/**
 * The docker command's lists of 100 services with 1,000 tasks, which wait for a node that is not there; beside it what the command
 * takes where the same bytes are answered at once, below which no engine gets.
 */
import { Engine } from '../../test/differential/engine.ts';
import { figure } from '../support/report.ts';
import { until } from '../support/wait.ts';
import { type BenchEngine, compare, dockerMs, sleeper, withBoth } from './engines.ts';
import { ReplayServer } from './replay.ts';

const SERVICES = 100;
const TASKS_EACH = 10;
const ROUNDS = 15;

export async function list(): Promise<void> {
  await withBoth(async (skep, peer) => {
    for (const engine of [skep, peer]) await fill(engine);
    const both = [skep, peer] as const;
    const inspected = Array.from({ length: SERVICES }, (_, i) => nameOf(i));
    const verbs: Readonly<Record<string, readonly string[]>> = {
      ls: ['service', 'ls'],
      inspect: ['service', 'inspect', ...inspected],
      ps: ['service', 'ps', ...inspected],
    };
    for (const [verb, args] of Object.entries(verbs)) {
      const timed = (engine: BenchEngine) => dockerMs(engine, ...args);
      const { skepMs, ratio } = await compare(`service ${verb}`, both, ROUNDS, timed);
      const key = verb === 'ls' ? 'list_cli' : `${verb}_cli`;
      figure(`${key}_ms`, skepMs);
      figure(`${key}_vs_dockerd_ratio`, ratio);
      figure(`${key}_vs_replay_ratio`, await ratioToReplay(skep, timed));
    }
  });
}

async function ratioToReplay(
  skep: BenchEngine,
  timed: (engine: BenchEngine) => Promise<number>,
): Promise<number> {
  const server = new ReplayServer(skep.socketPath);
  await server.start();
  try {
    const { socketPath } = server;
    const replay = { api: new Engine('replayed', socketPath), socketPath, pid: null };
    await timed(replay); // which learns the answers
    return (await compare('the same', [skep, replay], ROUNDS, timed)).ratio;
  } finally {
    server.stop();
  }
}

const nameOf = (index: number): string => `service-${String(index).padStart(3, '0')}`;

async function fill({ api }: BenchEngine): Promise<void> {
  for (let i = 0; i < SERVICES; i++) {
    const spec = sleeper(nameOf(i), TASKS_EACH, ['node.labels.nowhere==here']);
    const { status, body } = await api.call('POST', '/services/create', spec);
    if (status !== 201) throw new Error(`${api.name}: ${JSON.stringify(body)}`);
  }
  const all = async () =>
    (await api.get<readonly unknown[]>('/tasks')).length === SERVICES * TASKS_EACH;
  await until('all tasks are there', all, { periodMs: 250 });
}
