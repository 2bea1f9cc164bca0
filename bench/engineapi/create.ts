/** A service of one task, from the call that makes it until its task runs; and what the docker command takes until it says so. */
import { figure } from '../support/report.ts';
import { until } from '../support/wait.ts';
import { type BenchEngine, compare, docker, IMAGE, sleeper, wallMs, withBoth } from './engines.ts';

const ROUNDS = 9;
const LOOK_MS = 5;
/** The command looks for failures for so long once a service has converged, five seconds by default. */
const MONITOR = '1ms';

export async function create(): Promise<void> {
  await withBoth(async (skep, peer) => {
    const timed = (engine: BenchEngine, round: number) => runningMs(engine, `create-${round}`);
    const { skepMs, ratio } = await compare('service create', [skep, peer], ROUNDS, timed);
    figure('create_running_ms', skepMs);
    figure('create_running_vs_dockerd_ratio', ratio);
    const both = [skep, peer] as const;
    const converged = await compare('docker service create', both, ROUNDS, convergedMs);
    figure('create_converged_ms', converged.skepMs);
    figure('create_converged_vs_dockerd_ratio', converged.ratio);
  });
}

/** Which polls five times a second: what is done between two looks is told with the second one. */
async function convergedMs(engine: BenchEngine, round: number): Promise<number> {
  const name = `converge-${round}`;
  const flags = ['--no-resolve-image', '--update-monitor', MONITOR, '--stop-signal', 'SIGKILL'];
  const command = ['--name', name, IMAGE, 'sleep', '100000'];
  const ms = await wallMs(async () => {
    const said = await docker(engine, 'service', 'create', ...flags, ...command);
    if (!said.includes('converged')) throw new Error(`${engine.api.name}: ${said}`);
  });
  await removed(engine, name);
  return ms;
}

type Tasks = readonly { readonly Status: { readonly State: string } }[];

async function runningMs(engine: BenchEngine, name: string): Promise<number> {
  const { api } = engine;
  const filters = encodeURIComponent(JSON.stringify({ service: [name] }));
  const ms = await wallMs(async () => {
    const { status, body } = await api.call('POST', '/services/create', sleeper(name, 1));
    if (status !== 201) throw new Error(`${api.name}: ${JSON.stringify(body)}`);
    const runs = async () =>
      (await api.get<Tasks>(`/tasks?filters=${filters}`)).some(
        ({ Status }) => Status.State === 'running',
      );
    await until(`${name} runs`, runs, { periodMs: LOOK_MS, limitMs: 60_000 });
  });
  await removed(engine, name);
  return ms;
}

async function removed({ api }: BenchEngine, name: string): Promise<void> {
  await api.call('DELETE', `/services/${name}`);
  const gone = async () => (await api.get<Tasks>('/containers/json?all=1')).length === 0;
  await until(`${name} is gone`, gone, { periodMs: 50, limitMs: 60_000 });
}
