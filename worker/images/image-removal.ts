/** What removing a reference means, with Docker's sense and words. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import {
  canonicalReference,
  familiarReference,
  parseImageReference,
} from '../../common/model/image-reference.ts';
import type { FoundImage, ImageEntry } from './image-index.ts';

export interface ImageRemoval {
  /** names that are gone, as people write them */
  readonly untagged: readonly string[];
  /** ids of the image and layers that are gone */
  readonly deleted: readonly string[];
}

export interface RemovalPlan {
  readonly untagged: readonly string[];
  /** null = the image goes, too */
  readonly remaining: ImageEntry | null;
}

const SHORT_ID_LENGTH = 12;

function shortId(id: string): string {
  return id.replace('sha256:', '').slice(0, SHORT_ID_LENGTH);
}

function repositoryOf(name: string): string {
  return name.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
}

function familiar(name: string): string {
  return familiarReference(parseImageReference(name));
}

/** @param containers those that use the image. Throws `conflict`. */
export function planRemoval(
  found: FoundImage,
  containers: readonly string[],
  force: boolean,
): RemovalPlan {
  return found.reference === null
    ? planRemovalById(found.entry, containers, force)
    : planRemovalByName(found, canonicalNameOf(found), containers, force);
}

function canonicalNameOf({ reference }: FoundImage): string {
  const { domain, path, digest } = reference!;
  return digest === null ? canonicalReference(reference!) : `${domain}/${path}@${digest}`;
}

function planRemovalByName(
  { entry }: FoundImage,
  name: string,
  containers: readonly string[],
  force: boolean,
): RemovalPlan {
  const repoTags = entry.repoTags.filter((tag) => tag !== name);
  const repository = repositoryOf(name);
  // With its last tag a repository loses its digests, too: nobody would find them.
  const isLastOfRepository = !repoTags.some((tag) => repositoryOf(tag) === repository);
  const repoDigests = entry.repoDigests.filter(
    (digest) => digest !== name && !(isLastOfRepository && repositoryOf(digest) === repository),
  );
  const gone = [
    ...entry.repoTags.filter((tag) => !repoTags.includes(tag)),
    ...entry.repoDigests.filter((digest) => !repoDigests.includes(digest)),
  ];
  const untagged = gone.map(familiar);
  const remaining = { ...entry, repoTags, repoDigests };
  if (repoTags.length > 0 || repoDigests.length > 0) return { untagged, remaining };
  if (containers.length === 0) return { untagged, remaining: null };
  if (force) return { untagged, remaining };
  throw new SkepError(
    'conflict',
    `conflict: unable to remove repository reference ${JSON.stringify(familiar(name))} (must force)` +
      ` - container ${shortId(containers[0]!)} is using its referenced image ${shortId(entry.id)}`,
  );
}

function planRemovalById(
  entry: ImageEntry,
  containers: readonly string[],
  force: boolean,
): RemovalPlan {
  const conflict = (how: string, why: string): SkepError =>
    new SkepError('conflict', `conflict: unable to delete ${shortId(entry.id)} (${how}) - ${why}`);
  if (containers.length > 0) {
    throw conflict(
      'cannot be forced',
      `image is being used by running container ${shortId(containers[0]!)}`,
    );
  }
  if (!force && new Set(entry.repoTags.map(repositoryOf)).size > 1) {
    throw conflict('must be forced', 'image is referenced in multiple repositories');
  }
  return { untagged: [...entry.repoTags, ...entry.repoDigests].map(familiar), remaining: null };
}
