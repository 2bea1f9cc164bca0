/** The border between containers that a person drives and those whose service decides. */
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo } from '../../worker/container-view.ts';
import type { PlainContainer } from '../../worker/containers/plain-container.ts';

/** Throws `conflict` for a task's. @param action `start`, `stop`, ... */
export function requirePlain(info: ContainerInfo, action: string): PlainContainer {
  if (info.plain) return info.plain;
  const words = `cannot ${action} container ${info.id}: it belongs to a task, whose service decides`;
  throw new SkepError('conflict', words);
}
