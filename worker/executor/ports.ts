/** What the executor needs of the rooms beside it; `worker.ts` hands them in. */
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { NetworkId, TaskId } from '../../common/model/ids.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { LocalAddress } from '../../common/model/task.ts';
import type { ImageRecord, RegistryAuth } from '../images/image-store.ts';
import type { AttachedTask, TaskNetworkRequest } from '../network/network-manager.ts';
import type {
  ContainerBundle,
  ContainerState,
  ExecSession,
  ExecSpec,
  ExitRecord,
  LogQuery,
  LogRecord,
} from '../runtime/native-runtime.ts';

export interface Runtime {
  get(id: string): ContainerState | undefined;
  list(): ContainerState[];
  create(id: string, bundle: ContainerBundle, signal?: AbortSignal): Promise<ContainerState>;
  startContainer(id: string): Promise<ContainerState>;
  wait(id: string, signal?: AbortSignal): Promise<ExitRecord>;
  signal(id: string, signo: number): Promise<void>;
  killAll(id: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** @param signal gives it up while it is being begun */
  exec(id: string, spec: ExecSpec, signal?: AbortSignal): Promise<ExecSession>;
  logs(id: string, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord>;
}

export interface Images {
  get(reference: string): ImageRecord | undefined;
  /** the image that a container holds; its name may mean another one by now */
  heldBy(containerId: string): ImageRecord | undefined;
  pull(
    reference: string,
    auth: RegistryAuth | null,
    onProgress?: undefined,
    signal?: AbortSignal,
  ): Promise<ImageRecord>;
  acquireRootfs(
    containerId: string,
    imageId: string,
  ): Promise<{ readonly lowerDirs: readonly string[] }>;
  releaseRootfs(containerId: string): Promise<void>;
  /** containers that hold an image, known to anybody or not */
  pinnedContainers(): readonly string[];
}

export interface Volumes {
  acquire(
    containerId: string,
    name: string,
    options: {
      readonly labels: StringMap;
      readonly driver: string;
      readonly options: StringMap;
      readonly populateFrom: {
        readonly lowerDirs: readonly string[];
        readonly path: string;
      } | null;
    },
  ): Promise<{ readonly path: string }>;
  createAnonymous(
    containerId: string,
    populateFrom: { readonly lowerDirs: readonly string[]; readonly path: string } | null,
  ): Promise<{ readonly path: string }>;
  /** those that were made for it go, unless `keepsAnonymous` */
  release(containerId: string, how?: { readonly keepsAnonymous?: boolean }): Promise<void>;
  /** containers that hold a volume, known to anybody or not */
  usingContainers(): readonly string[];
}

export interface Drains {
  /** Resolves when no node sends anything new to the task, or when that takes too long. */
  whenDrained(taskId: TaskId, signal: AbortSignal): Promise<void>;
  /** The task is gone. */
  forget(taskId: TaskId): void;
}

export interface Networks {
  apply(changes: readonly AssignmentChange[], complete: boolean): Promise<void>;
  attachTask(request: TaskNetworkRequest, signal?: AbortSignal): Promise<AttachedTask>;
  adoptTask(request: TaskNetworkRequest): Promise<void>;
  publishPorts(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]>;
  detachTask(taskId: TaskId): Promise<void>;
  /** what this node gave it, in networks of the cluster that it makes by itself */
  localAddresses(taskId: TaskId): readonly LocalAddress[];
  /** a network of the cluster that this node knows of; null = it does not */
  networkOf(networkId: NetworkId): { readonly name: string; readonly driver: string } | null;
}
