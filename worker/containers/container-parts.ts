/** What a container needs of the rooms beside this one; `worker.ts` hands them in. */
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import type { MakerParts } from '../executor/container-maker.ts';
import type { Images, Runtime, Volumes } from '../executor/ports.ts';
import type { TaskFiles } from '../executor/task-files.ts';
import type { ContainerNetworks } from '../network/container-networks.ts';
import type { NativeRuntime } from '../runtime/native-runtime.ts';
import type { VolumeRecord, VolumeStore } from '../volumes/volume-store.ts';
import type { RecordStore } from './record-store.ts';

export interface PlainRuntime
  extends Runtime,
    Pick<
      NativeRuntime,
      'renew' | 'destroy' | 'attach' | 'freeze' | 'thaw' | 'updateResources' | 'resize'
    > {}

export interface ContainerParts extends MakerParts {
  readonly runtime: PlainRuntime;
  readonly images: Pick<Images, 'get' | 'acquireRootfs' | 'releaseRootfs' | 'pinnedContainers'>;
  readonly volumes: Volumes &
    Pick<VolumeStore, 'mountAgain'> & {
      list(): readonly Pick<VolumeRecord, 'name' | 'mountpoint'>[];
    };
  readonly files: Pick<TaskFiles, 'writeNames' | 'list' | 'remove'>;
  readonly networks: Pick<
    ContainerNetworks,
    'start' | 'isolate' | 'resolve' | 'attach' | 'connect' | 'disconnect' | 'detach' | 'renamed'
  >;
  readonly records: Pick<RecordStore, 'load' | 'put' | 'remove'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tell: TellEvent;
  /** of a network of this node; null = there is none (any more) */
  readonly driverOf: (networkId: string) => string | null;
  /** this machine's name */
  readonly hostname: () => string;
  /** this machine's resolvers */
  readonly nameservers: () => readonly string[];
}
