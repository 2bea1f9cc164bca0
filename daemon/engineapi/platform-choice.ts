/** `--platform`, as clients send it: `os[/architecture[/variant]]`, by the names of images or of kernels. */
import { SkepError } from '../../common/base/errors.ts';

interface Platform {
  readonly os: string;
  readonly architecture: string;
}

/** Kernels' names of what images name otherwise. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

/** @param text empty = any. Throws `unimplemented` for one that is not `own`, of which alone images are pulled here. */
export function requireOwnPlatform(own: Platform, text: string): void {
  if (isPlatform(own, text)) return;
  throw new SkepError('unimplemented', `platform ${text}: images here are for ${nameOf(own)}`);
}

/**
 * Throws `not-found` in Docker's words, at which its client pulls the image, when the one that is here under `reference` is for
 * another platform than `text`; empty = any.
 */
export function requirePlatform(image: Platform, reference: string, text: string): void {
  if (isPlatform(image, text)) return;
  const words = `image with reference ${reference} was found but does not match the specified platform`;
  throw new SkepError('not-found', `${words}: wanted ${text}, actual: ${nameOf(image)}`);
}

function nameOf({ os, architecture }: Platform): string {
  return `${os}/${architecture}`;
}

/** An image's variant is not known, so any fits. */
function isPlatform(actual: Platform, text: string): boolean {
  const [os, architecture = actual.architecture] = text.toLowerCase().split('/');
  if (text === '') return true;
  return os === actual.os && (ARCHITECTURES[architecture] ?? architecture) === actual.architecture;
}
