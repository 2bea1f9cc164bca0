/** What happened, in the words of Docker's `events`: told by whoever did it, shown by the Engine API. */
import type { StringMap } from './objects.ts';

export type EngineEventType =
  | 'container'
  | 'image'
  | 'volume'
  | 'network'
  | 'node'
  | 'service'
  | 'secret'
  | 'config';

export interface EngineEvent {
  readonly type: EngineEventType;
  /** `create`, `start`, `die`, `exec_create: sh`, `health_status: healthy`, ... */
  readonly action: string;
  /** of the object; an image's or volume's may be its name */
  readonly id: string;
  /** with the name of the object, and a container's labels */
  readonly attributes: StringMap;
}

/** Does not block and does not fail. */
export type TellEvent = (event: EngineEvent) => void;
