/**
 * Images for another processor than this machine's. They are taken, as Docker does: what is written in an image may be wrong,
 * and a machine may have an interpreter for others' programs. Where the command cannot be run, both are named.
 */
import { hostArchitecture } from '../images/image-config.ts';
import type { ImageRecord } from '../images/image-store.ts';
import { CommandError } from '../runtime/exec-session.ts';
import type { ContainerState } from '../runtime/native-runtime.ts';
import type { Runtime } from './ports.ts';

type Platform = Pick<ImageRecord, 'os' | 'architecture'>;

/**
 * Starts a container of `image`; undefined = it is not known any more. Rejects as `startContainer` does, with both
 * platforms where they differ and the command is none of this machine's.
 */
export async function startFrom(
  image: Platform | undefined,
  runtime: Pick<Runtime, 'startContainer'>,
  id: string,
): Promise<ContainerState> {
  try {
    return await runtime.startContainer(id);
  } catch (err) {
    throw explained(err, image);
  }
}

function explained(err: unknown, image: Platform | undefined): unknown {
  if (!(err instanceof CommandError) || err.errno !== 'ENOEXEC') return err;
  const host = hostArchitecture(process.arch);
  if (!image || image.architecture === host) return err;
  return err.because(
    `the image is for ${image.os}/${image.architecture}, this node is linux/${host}`,
  );
}
