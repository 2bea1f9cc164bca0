/** A service of one task, from the call that makes it until its task runs. */
import { figure } from '../support/report.ts';
import { until } from '../support/wait.ts';
import { type BenchEngine, compare, sleeper, wallMs, withBoth } from './engines.ts';

const ROUNDS = 9;
const LOOK_MS = 5;

export async function create(): Promise<void> {
  await withBoth(async (skep, peer) => {
    const timed = (engine: BenchEngine, round: number) => runningMs(engine, `create-${round}`);
    const { skepMs, ratio } = await compare('service create', [skep, peer], ROUNDS, timed);
    figure('create_running_ms', skepMs);
    figure('create_running_vs_dockerd_ratio', ratio);
  });
}

async function runningMs({ api }: BenchEngine, name: string): Promise<number> {
  const filters = encodeURIComponent(JSON.stringify({ service: [name] }));
  type Tasks = readonly { readonly Status: { readonly State: string } }[];
  const ms = await wallMs(async () => {
    const { status, body } = await api.call('POST', '/services/create', sleeper(name, 1));
    if (status !== 201) throw new Error(`${api.name}: ${JSON.stringify(body)}`);
    const runs = async () =>
      (await api.get<Tasks>(`/tasks?filters=${filters}`)).some(
        ({ Status }) => Status.State === 'running',
      );
    await until(`${name} runs`, runs, { periodMs: LOOK_MS, limitMs: 60_000 });
  });
  await api.call('DELETE', `/services/${name}`);
  const gone = async () => (await api.get<Tasks>('/containers/json?all=1')).length === 0;
  await until(`${name} is gone`, gone, { periodMs: 50, limitMs: 60_000 });
  return ms;
}
