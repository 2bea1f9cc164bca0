/** Who users are by the files of images. Layers never change, so that each is looked up once. */
import { imageFileReader, type ResolvedUser, resolveUser } from './user.ts';

/** Users of images that are remembered. */
const KEPT_MAX = 256;

export class ImageUsers {
  readonly #known = new Map<string, ResolvedUser>();

  /** As `resolveUser` over these layers, topmost first. */
  async resolve(user: string, lowerDirs: readonly string[]): Promise<ResolvedUser> {
    const key = [user, ...lowerDirs].join('\0');
    const found = this.#known.get(key) ?? (await resolveUser(user, imageFileReader(lowerDirs)));
    this.#known.delete(key); // to the end, as the newest
    this.#known.set(key, found);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= KEPT_MAX) break;
      this.#known.delete(oldest);
    }
    return found;
  }
}
