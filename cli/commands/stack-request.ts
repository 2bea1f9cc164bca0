/** A loaded stack as it is asked of the daemon: images resolved, what it needs from outside checked. */
import type { ServiceJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type { StackRequestJson } from '../../common/model/engine-json/stack.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import { IMAGE_LABEL } from '../../common/model/stack.ts';
import { hasStatus } from '../client/transport.ts';
import type { ExternalPlaces } from '../compose/convert.ts';
import type { LoadedStack } from '../compose/load-stack.ts';
import { problemAt, StackFileError } from '../compose/problems.ts';
import type { ExternalObject, FileUse, Stack, StackService } from '../compose/stack.ts';
import { type CommandContext, UsageError } from './context.ts';
import { type ResolvedImage, resolveImage, sentRegistryAuth } from './service-spec.ts';
import { ofStack } from './stack.ts';

/** When registries are asked for digests. */
export type ResolveWhen = 'always' | 'changed' | 'never';

/** The name of the manager that answers. */
export async function requireManager(context: CommandContext): Promise<string> {
  const { Swarm, Name } = await context.client.info();
  if (Swarm.ControlAvailable) return Name ?? '';
  if (Swarm.LocalNodeState === 'locked') {
    throw new UsageError('this manager is locked. Use "skep swarm unlock" and try again');
  }
  throw new UsageError(
    'this node is not a swarm manager. Use "skep swarm init" or "skep swarm join" to connect this node to swarm and try again',
  );
}

export interface RequestOptions {
  readonly prune: boolean;
  readonly resolve: ResolveWhen;
  /** registries are asked with the user's credentials */
  readonly withRegistryAuth: boolean;
}

/** Throws `StackFileError` for what is external and not there. */
export async function requestOf(
  context: CommandContext,
  { stack, places }: Pick<LoadedStack, 'stack' | 'places'>,
  { prune, resolve, withRegistryAuth }: RequestOptions,
): Promise<StackRequestJson> {
  await checkExternal(context, stack, places);
  const existing = await context.client.services(ofStack(stack.name));
  const byName = new Map(existing.map((service) => [service.Spec.Name, service]));
  return {
    Networks: stack.networks,
    Secrets: stack.secrets,
    Configs: stack.configs,
    // Asked all at once: a registry that does not answer costs its time-out only once.
    Services: await Promise.all(
      withImages(context, stack, byName, { resolve, withRegistryAuth }).map(
        async ([service, image]) => wholeSpec(service, await image),
      ),
    ),
    Prune: prune,
  };
}

/** Asked all at once, and told all at once. */
async function checkExternal(
  context: CommandContext,
  { external }: Stack,
  places: ExternalPlaces,
): Promise<void> {
  const asked = external.map(async (object) => {
    const [failure, place] = [await failureOf(context, object), places(object)];
    if (failure === null) return [];
    if (place === null) throw new UsageError(failure);
    return [problemAt(place, failure)];
  });
  const problems = (await Promise.all(asked)).flat();
  if (problems.length > 0) throw new StackFileError(problems);
}

/** null = it is there. */
async function failureOf(
  { client }: CommandContext,
  { kind, name }: ExternalObject,
): Promise<string | null> {
  if (kind === 'network' && (isPredefinedNetwork(name) || name === 'default')) return null;
  try {
    if (kind !== 'network') {
      await client.secret(`${kind}s`, name);
      return null;
    }
    const { Scope } = await client.network(name);
    if (Scope === 'swarm') return null;
    return `network "${name}" is declared as external, but it is not in the right scope: "${Scope}" instead of "swarm"`;
  } catch (err) {
    if (!hasStatus(err, 404)) throw err;
    if (kind !== 'network') {
      return `${kind} not found: ${name}; it is declared as external and must exist before (skep ${kind} create)`;
    }
    return `network "${name}" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed`;
  }
}

/** Each service and its image, asked for once however many services use it. */
function withImages(
  context: CommandContext,
  stack: Stack,
  existing: ReadonlyMap<string, ServiceJson>,
  { resolve: when, withRegistryAuth }: Omit<RequestOptions, 'prune'>,
): (readonly [StackService, Promise<ResolvedImage>])[] {
  const asked = new Map<string, Promise<ResolvedImage>>();
  return stack.services.map((service) => {
    const written = service.spec.TaskTemplate.ContainerSpec.Image;
    const before = existing.get(service.spec.Name)?.Spec;
    const unchanged = before?.Labels?.[IMAGE_LABEL] === written;
    const kept = before && unchanged ? recordedImage(before) : null;
    if (kept !== null && when !== 'always') return [service, Promise.resolve(kept)];
    const image =
      asked.get(written) ??
      sentRegistryAuth(context, written, withRegistryAuth).then((auth) =>
        resolveImage(context, written, when !== 'never', auth),
      );
    asked.set(written, image);
    if (kept === null || !written.includes('@')) return [service, image];
    // A registry that is down tells no platforms of a digest: that must replace no task.
    return [service, image.then((found) => (found.platforms.length > 0 ? found : kept))];
  });
}

function recordedImage({ TaskTemplate }: ServiceSpecJson): ResolvedImage {
  const { ContainerSpec, Placement } = TaskTemplate;
  return { image: ContainerSpec.Image, platforms: Placement?.Platforms ?? [] };
}

/** By the stack's names: which objects they are is the plan's to say. */
function wholeSpec(
  { spec, secrets, configs }: StackService,
  image: ResolvedImage,
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
        Image: image.image,
        ...(secrets.length > 0 && {
          Secrets: secrets.map((use) => ({
            SecretID: '',
            SecretName: use.name,
            File: file(use),
          })),
        }),
        ...(configs.length > 0 && {
          Configs: configs.map((use) => ({
            ConfigID: '',
            ConfigName: use.name,
            File: file(use),
          })),
        }),
      },
      Placement: {
        // A platform of the file narrows what the image is made for.
        ...(image.platforms.length > 0 && { Platforms: image.platforms }),
        ...task.Placement,
      },
    },
  };
}
