/**
 * The same stack files through `docker stack deploy` and through our loader: what docker sends to a
 * socket that we serve is held against our specs. Needs the docker command, no daemon.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { loadStack } from '../../cli/compose/load-stack.ts';
import type { StackService } from '../../cli/compose/stack.ts';
import type { ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import { DEPENDS_ON_LABEL } from '../../common/model/start-order.ts';
import {
  DOCKER_STACK,
  DOCKER_STACK_ENV,
  OVER_DOCKER_STACK,
  writeDockerStack,
} from '../support/docker-stack.ts';
import { temporaryFolders } from '../support/temporary-folder.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const makeFolder = temporaryFolders();

type Json = Record<string, unknown>;
type Made = Readonly<Record<'services' | 'networks' | 'secrets' | 'configs', readonly Json[]>>;

/** Answers what a deployment asks of an empty cluster, and keeps what it makes. */
function emptyCluster() {
  const made: Record<keyof Made, Json[]> = { services: [], networks: [], secrets: [], configs: [] };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path = ''] = (request.url ?? '').replace(/^\/v[\d.]+/, '').split('?');
    response.setHeader('Api-Version', '1.50');
    response.setHeader('Content-Type', 'application/json');
    const send = (body: unknown, status = 200): void => {
      response.statusCode = status;
      response.end(JSON.stringify(body));
    };
    const [, kind = '', name] = path.split('/');
    const body = await readText(request);
    if (kind === 'info') send({ Swarm: { ControlAvailable: true, LocalNodeState: 'active' } });
    else if (!(kind in made)) send('OK');
    else if (name === 'create') {
      const object = JSON.parse(body) as Json;
      made[kind as keyof Made].push(object);
      send({ ID: `id-${String(object['Name'])}`, Id: 'id' }, 201);
    } else if (name !== undefined) send({ message: 'no such object' }, 404);
    else if (kind === 'secrets' || kind === 'configs') {
      const object = ({ Name }: Json) => ({ ID: `id-${String(Name)}`, Spec: { Name } });
      send(made[kind].map(object));
    } else send([]);
  };
  return { made: made as Made, server: createServer((...parts) => void answer(...parts)) };
}

async function dockerDeploys(dir: string, files: readonly string[]): Promise<Made> {
  const { made, server } = emptyCluster();
  const socketPath = join(dir, 'engine.sock');
  server.listen(socketPath);
  await once(server, 'listening');
  const flags = ['stack', 'deploy', '--detach=true', '--resolve-image', 'never'];
  const composeFiles = files.flatMap((file) => ['-c', join(dir, file)]);
  const child = spawn('docker', [...flags, ...composeFiles, 'shop'], {
    env: { ...DOCKER_STACK_ENV, PATH: process.env['PATH'], DOCKER_HOST: `unix://${socketPath}` },
  });
  const [errors, [status]] = await Promise.all([readText(child.stderr), once(child, 'close')]);
  server.close();
  expect(status, errors).toBe(0);
  return made;
}

function weDeploy(dir: string, files: readonly string[]): Made {
  const { stack } = loadStack({
    name: 'shop',
    files: files.map((file) => {
      const location = join(dir, file);
      return { path: file, location, text: readFileSync(location, 'utf8') };
    }),
    dir,
    env: DOCKER_STACK_ENV,
    envFiles: [],
    profiles: [],
    readFile: (path) => readFileSync(path),
    fixWhitespace: false,
    interpolate: true,
    ignoreRefused: true,
  });
  return {
    services: stack.services.map(withFiles),
    networks: stack.networks.map((one) => ({
      ...one,
      // The driver is left to the daemon there.
      ...(one.IPAM && { IPAM: { Config: one.IPAM.Config } }),
    })),
    secrets: stack.secrets.map((one) => ({ ...one })),
    configs: stack.configs.map((one) => ({ ...one })),
  };
}

/** As `skep stack deploy` sends it, once it knows the ids. */
function withFiles({ spec, secrets, configs }: StackService): Json {
  const file = (kind: string) => (use: StackService['secrets'][number]) => ({
    File: { Name: use.target, UID: use.uid, GID: use.gid, Mode: use.mode },
    [`${kind}ID`]: `id-${use.name}`,
    [`${kind}Name`]: use.name,
  });
  const { TaskTemplate: task } = spec;
  const container = {
    ...task.ContainerSpec,
    Secrets: secrets.map(file('Secret')),
    Configs: configs.map(file('Config')),
  };
  return { ...spec, TaskTemplate: { ...task, ContainerSpec: container } };
}

/** Without what says nothing, by name, and with the differences that are meant taken out. */
function comparable(made: Made): unknown {
  const services = (made.services as unknown as ServiceSpecJson[]).map(meant);
  return Object.fromEntries(
    Object.entries({ ...made, services }).map(([kind, objects]) => [
      kind,
      (said(objects) as { readonly Name: string }[]).sort((a, b) => (a.Name < b.Name ? -1 : 1)),
    ]),
  );
}

function said(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(said);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, said(inner)] as const)
      .filter(([, inner]) => {
        if (typeof inner === 'object' && inner !== null) return Object.keys(inner).length > 0;
        return inner !== null && inner !== '' && inner !== false && inner !== 0;
      }),
  );
}

const ONE_REPLICA = { Replicated: { Replicas: 1 } };

/**
 * The differences: docker adds `:latest` and leaves out one replica (our client does both later);
 * `restart: "no"` is no policy there, which restarts for ever; the score of the killer and init are not
 * sent or not done; the order of starts is a label of ours.
 */
function meant(spec: ServiceSpecJson): unknown {
  const { TaskTemplate: task, Mode } = spec;
  const { Init: _init, OomScoreAdj: _score, ...container } = task.ContainerSpec;
  const { RestartPolicy: restart, ...rest } = task;
  const { [DEPENDS_ON_LABEL]: _order, ...labels } = spec.Labels ?? {};
  return {
    ...spec,
    Labels: labels,
    Mode: Mode?.Replicated && !Mode.Replicated.Replicas ? ONE_REPLICA : Mode,
    TaskTemplate: {
      ...rest,
      ...(restart && restart.Condition !== 'none' && { RestartPolicy: restart }),
      ContainerSpec: {
        ...container,
        Image: container.Image.replace(/:latest$/, ''),
        Mounts: [...(container.Mounts ?? [])].sort((a, b) => (a.Target < b.Target ? -1 : 1)),
      },
    },
  };
}

describe.skipIf(!hasDocker)('stack files as the docker command reads them', () => {
  test.each([
    ['one file', [DOCKER_STACK]],
    ['a file over it', [DOCKER_STACK, OVER_DOCKER_STACK]],
  ])('%s becomes the same objects', async (_, files) => {
    const dir = await makeFolder();
    writeDockerStack(dir);
    expect(comparable(weDeploy(dir, files))).toEqual(comparable(await dockerDeploys(dir, files)));
  });
});
