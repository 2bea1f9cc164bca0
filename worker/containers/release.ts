/** The end of a container on this node: what it has goes from every room. */
import type { ContainerParts } from './container-parts.ts';

/**
 * Everything that it has on this node goes, whatever its state. Idempotent.
 * @param keepsVolumes also the anonymous ones that were made for it
 */
export async function releaseContainer(
  parts: ContainerParts,
  id: string,
  { keepsVolumes = false } = {},
): Promise<void> {
  const { runtime, networks, images, volumes, files } = parts;
  await runtime.destroy(id);
  await networks.detach(id);
  await images.releaseRootfs(id);
  await volumes.release(id, { keepsAnonymous: keepsVolumes });
  await files.remove(id);
}
