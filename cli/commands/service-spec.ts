/** What `service create` and `service update` ask of the daemon before they can send a spec. */
import type {
  ConfigReferenceJson,
  SecretReferenceJson,
} from '../../common/model/engine-json/container-spec.ts';
import type { NetworkAttachmentJson, PlacementJson } from '../../common/model/engine-json/task.ts';
import {
  canonicalReference,
  familiarReference,
  familiarRepository,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import { type CommandContext, UsageError, warnLine } from './context.ts';
import { registryAuthFor } from './credentials.ts';
import type { FileReference } from './service-flags.ts';

/** Networks by id, as the daemon keeps them. Sorted by id. */
export async function resolveNetworks(
  context: CommandContext,
  networks: readonly NetworkAttachmentJson[],
): Promise<NetworkAttachmentJson[]> {
  const resolved = await Promise.all(
    networks.map(async (network) => {
      const found = await context.client.network(network.Target, { scope: 'swarm' });
      return { ...network, Target: found.Id };
    }),
  );
  return resolved.sort((a, b) => (a.Target < b.Target ? -1 : 1));
}

async function idsByName(
  context: CommandContext,
  kind: 'secrets' | 'configs',
  references: readonly FileReference[],
): Promise<Map<string, string>> {
  if (references.length === 0) return new Map();
  const names = references.map(({ source }) => source);
  const found = await context.client.secrets(kind, { name: names });
  const ids = new Map(found.map((object) => [object.Spec.Name, object.ID]));
  for (const name of names) {
    if (!ids.has(name)) throw new UsageError(`${kind.slice(0, -1)} not found: ${name}`);
  }
  return ids;
}

const fileOf = ({ target, uid, gid, mode }: FileReference) => ({
  Name: target,
  UID: uid,
  GID: gid,
  Mode: mode,
});

/** Throws `UsageError` for a secret that does not exist. */
export async function resolveSecrets(
  context: CommandContext,
  references: readonly FileReference[],
): Promise<SecretReferenceJson[]> {
  const ids = await idsByName(context, 'secrets', references);
  return references.map((reference) => ({
    SecretID: ids.get(reference.source) ?? '',
    SecretName: reference.source,
    File: fileOf(reference),
  }));
}

/** Throws `UsageError` for a config that does not exist. */
export async function resolveConfigs(
  context: CommandContext,
  references: readonly FileReference[],
): Promise<ConfigReferenceJson[]> {
  const ids = await idsByName(context, 'configs', references);
  return references.map((reference) => ({
    ConfigID: ids.get(reference.source) ?? '',
    ConfigName: reference.source,
    File: fileOf(reference),
  }));
}

export interface ResolvedImage {
  readonly image: string;
  readonly platforms: NonNullable<PlacementJson['Platforms']>;
}

/** What `--with-registry-auth` sends: an empty object when nobody is logged in, as docker does. */
export async function sentRegistryAuth(
  context: CommandContext,
  image: string,
  withAuth: boolean | undefined,
): Promise<string | undefined> {
  if (!withAuth) return undefined;
  return (await registryAuthFor(context, image)) ?? EMPTY_AUTH;
}

export function authOption(auth: string | undefined): { registryAuth?: string } {
  return auth === undefined ? {} : { registryAuth: auth };
}

/** Base64 of `{}`. */
const EMPTY_AUTH = 'e30=';

/**
 * The image pinned to the digest that its registry gives now, or that it has already, and its platforms.
 * When no registry answers, the image as it is, with a warning where nodes may then run different ones.
 */
export async function resolveImage(
  context: CommandContext,
  image: string,
  ask: boolean,
  registryAuth?: string,
): Promise<ResolvedImage> {
  const reference = withDefaultTag(parseImageReference(image));
  const name = familiarReference(reference);
  if (!ask) return { image: name, platforms: [] };
  try {
    const { Descriptor, Platforms } = await context.client.distribution(
      canonicalReference(reference),
      registryAuth,
    );
    const platforms = (Platforms ?? []).map(({ architecture, os }) => ({
      Architecture: architecture,
      OS: os,
    }));
    if (reference.digest !== null) return { image: name, platforms };
    const tag = reference.tag === null ? '' : `:${reference.tag}`;
    return { image: `${familiarRepository(reference)}${tag}@${Descriptor.digest}`, platforms };
  } catch (err) {
    if (!(err instanceof Error) || err.name !== 'ApiError') throw err;
    if (reference.digest === null) warnLine(context, digestWarning(name));
    return { image: name, platforms: [] };
  }
}

/** Docker's words. */
export function digestWarning(image: string): string {
  return `image ${image} could not be accessed on a registry to record
its digest. Each node will access ${image} independently,
possibly leading to different nodes running different
versions of the image.
`;
}
