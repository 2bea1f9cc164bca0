/** The docker command's lists of 100 services with 1,000 tasks, which wait for a node that is not there. */
import { figure } from '../support/report.ts';
import { until } from '../support/wait.ts';
import { type BenchEngine, compare, docker, sleeper, wallMs, withBoth } from './engines.ts';

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
      const timed = (engine: BenchEngine) => wallMs(() => docker(engine, ...args));
      const { skepMs, ratio } = await compare(`service ${verb}`, both, ROUNDS, timed);
      figure(`${verb === 'ls' ? 'list_cli' : `${verb}_cli`}_ms`, skepMs);
      figure(`${verb === 'ls' ? 'list_cli' : `${verb}_cli`}_vs_dockerd_ratio`, ratio);
    }
  });
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
