/** Credentials for registries that commands send along, as `docker login` or `skep login` left them. */
import { parseImageReference } from '../../common/model/image-reference.ts';
import { encodeRegistryAuth } from '../../common/model/registry-auth.ts';
import { DockerConfig } from '../client/docker-config.ts';
import type { CommandContext } from './context.ts';

/** For the registry of this image; undefined when nobody is logged in there. */
export async function registryAuthFor(
  context: CommandContext,
  image: string,
): Promise<string | undefined> {
  const { domain } = parseImageReference(image);
  const credentials = await new DockerConfig(context.env).get(domain);
  return credentials === null ? undefined : encodeRegistryAuth(credentials, domain);
}
