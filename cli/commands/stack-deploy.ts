/** `skep stack deploy`: a stack file's objects made or brought up to date, in dependency order. */
import { Option } from 'commander';
import type { SecretJson, ServiceJson, ServiceSpecJson } from '../../common/model/engine-json.ts';
import { IMAGE_LABEL } from '../../common/model/stack.ts';
import { hasStatus } from '../client/transport.ts';
import { loadStack } from '../compose/load-stack.ts';
import type { FileUse, Stack, StackService } from '../compose/stack.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  printLine,
  refuseFlags,
  UsageError,
  warnLine,
} from './context.ts';
import { waitForServices } from './converge.ts';
import { type ResolvedImage, resolveImage } from './service-spec.ts';
import { ofStack } from './stack.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';

interface DeployFlags extends FileFlags {
  readonly detach: boolean;
  readonly prune?: boolean;
  readonly quiet?: boolean;
  readonly ignoreRefused?: boolean;
  readonly resolveImage: 'always' | 'changed' | 'never';
}

export const deploy: Configure = (command, context) => {
  refuseFlags(command, {
    '--with-registry-auth': 'credentials of registries are not supported yet',
  });
  fileFlags(
    command
      .argument('<stack>', 'name of the stack')
      .option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('-d, --detach', 'do not wait until the services run', true)
    .option('--prune', 'remove services that the file no longer has')
    .option('--ignore-refused', 'deploy without the keys that are refused')
    .option('-q, --quiet', 'no progress')
    .addOption(
      new Option('--resolve-image <when>', 'ask the registry for digests')
        .choices(['always', 'changed', 'never'])
        .default('always'),
    )
    .action(async (name: string, flags: DeployFlags) => {
      const request = await stackRequest(context, name, flags.composeFile ?? [], flags);
      const ignoreRefused = flags.ignoreRefused ?? false;
      const { stack, warnings } = loadStack({ ...request, ignoreRefused });
      await requireManager(context);
      for (const warning of warnings) warnLine(context, warning);
      if (flags.prune) await prune(context, stack);
      await checkExternalNetworks(context, stack);
      await createNetworks(context, stack);
      await putFiles(context, 'secrets', stack);
      await putFiles(context, 'configs', stack);
      const ids = await putServices(context, stack, flags.resolveImage);
      if (!flags.detach) await waitForServices(context, ids, flags);
    });
};

async function requireManager(context: CommandContext): Promise<void> {
  const { Swarm } = await context.client.info();
  if (Swarm.ControlAvailable) return;
  if (Swarm.LocalNodeState === 'locked') {
    throw new UsageError('this manager is locked. Use "skep swarm unlock" and try again');
  }
  throw new UsageError(
    'this node is not a swarm manager. Use "skep swarm init" or "skep swarm join" to connect this node to swarm and try again',
  );
}

/** Removes services of the stack that the file no longer has. */
async function prune(context: CommandContext, stack: Stack): Promise<void> {
  const wanted = new Set(stack.services.map(({ spec }) => spec.Name));
  for (const { ID, Spec } of await context.client.services(ofStack(stack.name))) {
    if (wanted.has(Spec.Name)) continue;
    printLine(context, `Removing service ${Spec.Name}`);
    await context.client.serviceRemove(ID);
  }
}

const PREDEFINED = ['bridge', 'host', 'none', 'default'];

async function checkExternalNetworks(context: CommandContext, stack: Stack): Promise<void> {
  for (const name of stack.externalNetworks) {
    if (PREDEFINED.includes(name)) continue;
    try {
      const { Scope } = await context.client.network(name);
      if (Scope === 'swarm') continue;
      throw new UsageError(
        `network "${name}" is declared as external, but it is not in the right scope: "${Scope}" instead of "swarm"`,
      );
    } catch (err) {
      if (!hasStatus(err, 404)) throw err;
      throw new UsageError(
        `network "${name}" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed`,
      );
    }
  }
}

/** An existing network stays as it is, also when the file says otherwise. */
async function createNetworks(context: CommandContext, stack: Stack): Promise<void> {
  const existing = await context.client.networks(ofStack(stack.name));
  const names = new Set(existing.map(({ Name }) => Name));
  for (const network of stack.networks) {
    if (names.has(network.Name)) continue;
    printLine(context, `Creating network ${network.Name}`);
    await context.client.networkCreate(network);
  }
}

async function putFiles(
  context: CommandContext,
  kind: 'secrets' | 'configs',
  stack: Stack,
): Promise<void> {
  const { client } = context;
  for (const spec of stack[kind]) {
    const existing = await existingFile(context, kind, spec.Name);
    if (existing) await client.secretUpdate(kind, existing.ID, existing.Version.Index, spec);
    else {
      printLine(context, `Creating ${kind.slice(0, -1)} ${spec.Name}`);
      await client.secretCreate(kind, spec);
    }
  }
}

async function existingFile(
  context: CommandContext,
  kind: 'secrets' | 'configs',
  name: string,
): Promise<SecretJson | null> {
  try {
    return await context.client.secret(kind, name);
  } catch (err) {
    if (hasStatus(err, 404)) return null;
    throw err;
  }
}

/** Name and id of each service. */
async function putServices(
  context: CommandContext,
  stack: Stack,
  when: DeployFlags['resolveImage'],
): Promise<[string, string][]> {
  const { client } = context;
  const files = {
    secrets: await fileIds(context, 'secrets', stack),
    configs: await fileIds(context, 'configs', stack),
  };
  const existing = await client.services(ofStack(stack.name));
  const byName = new Map(existing.map((service) => [service.Spec.Name, service]));
  const ids: [string, string][] = [];
  // Asked all at once: a registry that does not answer costs its time-out only once.
  const specs = await Promise.all(
    withImages(context, stack, byName, when).map(async ([service, image]) =>
      finalSpec(service, byName.get(service.spec.Name), await image, files),
    ),
  );
  for (const spec of specs) {
    const before = byName.get(spec.Name);
    if (before) {
      printLine(context, `Updating service ${spec.Name} (id: ${before.ID})`);
      const answer = await client.serviceUpdate(before.ID, before.Version.Index, spec);
      for (const warning of answer?.Warnings ?? []) warnLine(context, warning);
      ids.push([spec.Name, before.ID]);
    } else {
      printLine(context, `Creating service ${spec.Name}`);
      const { ID, Warnings } = await client.serviceCreate(spec);
      for (const warning of Warnings ?? []) warnLine(context, warning);
      ids.push([spec.Name, ID]);
    }
  }
  return ids;
}

type FileIds = ReadonlyMap<string, string>;

async function fileIds(
  context: CommandContext,
  kind: 'secrets' | 'configs',
  stack: Stack,
): Promise<FileIds> {
  const names = [...new Set(stack.services.flatMap((service) => service[kind].map((f) => f.name)))];
  if (names.length === 0) return new Map();
  const found = await context.client.secrets(kind, { name: names });
  const ids = new Map(found.map(({ ID, Spec }) => [Spec.Name, ID]));
  for (const name of names) {
    if (!ids.has(name)) throw new UsageError(`${kind.slice(0, -1)} not found: ${name}`);
  }
  return ids;
}

/** Each service and its image, asked for once however many services use it. */
function withImages(
  context: CommandContext,
  stack: Stack,
  existing: ReadonlyMap<string, ServiceJson>,
  when: DeployFlags['resolveImage'],
): (readonly [StackService, Promise<ResolvedImage>])[] {
  const asked = new Map<string, Promise<ResolvedImage>>();
  return stack.services.map((service) => {
    const written = service.spec.TaskTemplate.ContainerSpec.Image;
    const before = existing.get(service.spec.Name)?.Spec;
    const unchanged = before?.Labels?.[IMAGE_LABEL] === written;
    if (before && unchanged && when !== 'always') {
      const { ContainerSpec, Placement } = before.TaskTemplate;
      const kept = { image: ContainerSpec.Image, platforms: Placement?.Platforms ?? [] };
      return [service, Promise.resolve(kept)];
    }
    const image = asked.get(written) ?? resolveImage(context, written, when !== 'never');
    asked.set(written, image);
    return [service, image];
  });
}

function finalSpec(
  { spec, secrets, configs }: StackService,
  before: ServiceJson | undefined,
  resolved: ResolvedImage,
  ids: { readonly secrets: FileIds; readonly configs: FileIds },
): ServiceSpecJson {
  const task = spec.TaskTemplate;
  const file = ({ target, uid, gid, mode }: FileUse) => ({
    Name: target,
    UID: uid,
    GID: gid,
    Mode: mode,
  });
  return {
    ...spec,
    TaskTemplate: {
      ...task,
      ContainerSpec: {
        ...task.ContainerSpec,
        Image: resolved.image,
        ...(secrets.length > 0 && {
          Secrets: secrets.map((use) => ({
            SecretID: ids.secrets.get(use.name) ?? '',
            SecretName: use.name,
            File: file(use),
          })),
        }),
        ...(configs.length > 0 && {
          Configs: configs.map((use) => ({
            ConfigID: ids.configs.get(use.name) ?? '',
            ConfigName: use.name,
            File: file(use),
          })),
        }),
      },
      Placement: {
        // A platform of the file narrows what the image is made for.
        ...(resolved.platforms.length > 0 && { Platforms: resolved.platforms }),
        ...task.Placement,
      },
      ForceUpdate: before?.Spec.TaskTemplate.ForceUpdate ?? 0,
    },
  };
}
