/** Stack files as each engine's own command reads them, and the objects that come of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEPLOYMENT_LABEL, NAMESPACE_LABEL } from '../../common/model/stack.ts';
import {
  DOCKER_STACK,
  DOCKER_STACK_ENV,
  OVER_DOCKER_STACK,
  writeDockerStack,
} from '../support/docker-stack.ts';
import type { Engine } from './engine.ts';
import type { Operation, Scenario, Step } from './scenario.ts';
import { call, wait } from './steps.ts';

const STACK = 'shop';
const REMOVALS_MAX = 5;
/** What stands for the folder of the files, which is another one in each run. */
const FOLDER = '/stack-files';

interface Named {
  readonly Name?: string;
  readonly Spec?: { readonly Name: string; readonly Labels?: Readonly<Record<string, string>> };
  readonly Labels?: Readonly<Record<string, string>>;
}

/** The files in a folder of their own, whose path the answers do not keep. */
async function withFiles<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'skep-diff-'));
  try {
    writeDockerStack(dir);
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** All objects of the stack in one answer, by name, as they are after the deployment. */
function deploy(name: string, files: readonly string[]): Operation {
  return call(name, (engine) =>
    withFiles(async (dir) => {
      const argv = ['stack', 'deploy', '--detach', '--resolve-image', 'never'];
      const { code, stderr } = await engine.command(
        [...argv, ...files.flatMap((file) => ['-c', join(dir, file)]), STACK],
        DOCKER_STACK_ENV,
      );
      if (code !== 0) return { code, message: stderr };
      const text = JSON.stringify(await objectsOf(engine)).replaceAll(dir, FOLDER);
      return { code, ...(JSON.parse(text) as object) };
    }),
  );
}

async function objectsOf(engine: Engine): Promise<Record<string, Record<string, unknown>>> {
  const found: Record<string, Record<string, unknown>> = {};
  for (const kind of ['services', 'networks', 'secrets', 'configs']) {
    const all = (await engine.get<readonly Named[] | null>(`/${kind}`)) ?? [];
    const own = all.filter(isOfStack).filter((object) => !isRecord(object));
    const byName = own.map((object) => [object.Spec?.Name ?? object.Name ?? '', object] as const);
    const objects = byName.sort(([a], [b]) => (a < b ? -1 : 1));
    found[kind] = Object.fromEntries(
      objects.map(([name, object]) => [name, kind === 'networks' ? asked(object) : object]),
    );
  }
  for (const service of Object.keys(found['services']!)) {
    const { Spec } = await engine.get<Service>(`/services/${service}?insertDefaults=true`);
    found['services']![service] = comparable(Spec);
  }
  return found;
}

interface Network extends Named {
  readonly IPAM?: { readonly Config?: readonly { readonly Subnet?: string }[] | null };
  readonly Options?: object | null;
}

interface Service {
  readonly Spec: {
    readonly TaskTemplate: {
      readonly ContainerSpec: {
        readonly Mounts?: readonly { readonly Target: string }[];
        readonly Healthcheck?: object;
      };
    };
  };
}

/**
 * Without what an engine of API 1.41 drops, and mounts by their targets: docker brings those of several files into that
 * order, and it means nothing.
 */
function comparable(spec: Service['Spec']): object {
  const { Mounts = [], Healthcheck, ...rest } = spec.TaskTemplate.ContainerSpec;
  const container = {
    ...without(rest, 'OomScoreAdj'),
    ...(Healthcheck && { Healthcheck: without(Healthcheck, 'StartInterval') }),
    Mounts: [...Mounts].sort((a, b) => (a.Target < b.Target ? -1 : 1)),
  };
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: container } };
}

/** The one that the file asks for. */
const SUBNET = '10.9.0.0/16';
const VXLAN_IDS = 'com.docker.network.driver.overlay.vxlanid_list';

/** Without what is chosen for a network: docker makes those of a file in any order. */
function asked(network: Network): object {
  const { IPAM, Options, ...rest } = network;
  const Config = (IPAM?.Config ?? []).filter(({ Subnet }) => Subnet === SUBNET);
  return { ...rest, IPAM: { ...IPAM, Config }, Options: without(Options ?? {}, VXLAN_IDS) };
}

const without = (object: object, field: string): object =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== field));

const labelsOf = ({ Spec, Labels }: Named): Readonly<Record<string, string>> =>
  Spec?.Labels ?? Labels ?? {};
const isOfStack = (object: Named): boolean => labelsOf(object)[NAMESPACE_LABEL] === STACK;
/** What skep keeps of its own: the deployments of the stack. */
const isRecord = (object: Named): boolean => Object.hasOwn(labelsOf(object), DEPLOYMENT_LABEL);

const remove: readonly Step[] = [
  call('remove the stack', async (engine) => {
    // Swarm at times refuses the network as in use by the tasks that it just ended; its users say it again.
    for (let attempt = 1; ; attempt++) {
      const { code } = await engine.command(['stack', 'rm', STACK], DOCKER_STACK_ENV);
      if (code === 0 || attempt === REMOVALS_MAX) return { code };
      await sleep(1_000);
    }
  }),
  wait('nothing of the stack is left', async (engine) =>
    Object.values(await objectsOf(engine)).every((byName) => Object.keys(byName).length === 0),
  ),
];

export const STACK_SCENARIOS: readonly Scenario[] = [
  {
    name: 'stack files',
    steps: [
      deploy('one file', [DOCKER_STACK]),
      deploy('a file over it', [DOCKER_STACK, OVER_DOCKER_STACK]),
      ...remove,
    ],
  },
];
