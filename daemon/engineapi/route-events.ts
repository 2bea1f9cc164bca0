/** Events of what routes alone do, as who does it tells them. Pure. */
import type { EngineEvent } from '../../common/model/engine-event.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ContainerInfo } from '../../worker/container-view.ts';

/** @param action `top`, `export`, ... */
export function containerEvent(
  { id, attributes }: Pick<ContainerInfo, 'id' | 'attributes'>,
  action: string,
  more: StringMap = {},
): EngineEvent {
  return { type: 'container', action, id, attributes: { ...attributes, ...more } };
}

/** Of no object: one for all that went, told when they are gone. @param bytes that came free */
export function pruneEvent(
  type: 'container' | 'image' | 'network' | 'volume',
  bytes: number,
): EngineEvent {
  return { type, action: 'prune', id: '', attributes: { reclaimed: String(bytes) } };
}
