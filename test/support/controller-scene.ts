/** One task's controller on fakes of the rooms beside it. */
import { join } from 'node:path';
import { silentLogger } from '../../common/base/log.ts';
import type { EngineEvent } from '../../common/model/engine-event.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import type { ContainerSpec, HealthConfig, TaskSpec } from '../../common/model/service.ts';
import type { NetworkAttachment, Task } from '../../common/model/task.ts';
import { EndpointDrains } from '../../worker/agent/endpoint-drains.ts';
import type { Companion } from '../../worker/executor/companions.ts';
import { ContainerController } from '../../worker/executor/container-controller.ts';
import type { Dependencies } from '../../worker/executor/executor.ts';
import { DEFAULT_NODE_SETTINGS, type NodeSettings } from '../../worker/executor/node-settings.ts';
import { TaskFiles } from '../../worker/executor/task-files.ts';
import type { ImageConfig } from '../../worker/images/image-store.ts';
import { aContainerSpec, aNodeDescription, aTask, aTaskSpec, idOf } from './builders.ts';
import { FakeClock } from './fake-clock.ts';
import {
  anImage,
  FakeImages,
  FakeNetworks,
  FakeRuntime,
  FakeVolumes,
  NO_HOST_FACTS,
} from './fake-container-host.ts';

const NONE: Dependencies = { secret: () => undefined, config: () => undefined };
const SECOND_NANOS = 1e9;

/** Every 10 s; two failures make it unhealthy. */
export const CHECK: HealthConfig = {
  test: ['CMD', 'probe'],
  intervalNanos: 10 * SECOND_NANOS,
  timeoutNanos: 2 * SECOND_NANOS,
  startPeriodNanos: 0,
  startIntervalNanos: 0,
  retries: 2,
};

/** A seat in an overlay network. */
export const OVERLAY: NetworkAttachment = {
  networkId: idOf<NetworkId>('net'),
  addresses: ['10.0.1.5/24'],
  aliases: [],
};

export interface SceneOptions {
  readonly container?: Partial<ContainerSpec>;
  readonly spec?: Partial<TaskSpec>;
  readonly task?: Partial<Task>;
  readonly image?: Partial<ImageConfig>;
  readonly dependencies?: Dependencies;
}

export class ControllerScene {
  readonly calls: string[] = [];
  readonly events: EngineEvent[] = [];
  readonly clock = new FakeClock();
  readonly runtime = new FakeRuntime(this.calls);
  readonly images = new FakeImages(this.calls);
  readonly volumes = new FakeVolumes(this.calls);
  readonly networks = new FakeNetworks(this.calls);
  /** without a session: after 400 ms, whatever others know */
  readonly drains = new EndpointDrains(this.clock);
  readonly task: Task;
  readonly dir: string;
  readonly dependencies: Dependencies;
  readonly signal = new AbortController().signal;
  closed = 0;
  /** tasks of this node, by service */
  readonly mates = new Map<string, Companion[]>();
  /** by process: those that it has, where they are not one for all */
  readonly namespaces = new Map<number, string>();
  /** of the node, before there is a controller */
  forbidden: NodeSettings['forbidden'] = new Set();

  constructor(dir: string, options: SceneOptions) {
    this.dir = dir;
    this.dependencies = options.dependencies ?? NONE;
    const container = aContainerSpec(options.container);
    this.task = aTask({ spec: aTaskSpec({ container, ...options.spec }), ...options.task });
    this.images.byReference.set(container.image, anImage(options.image));
  }

  get id(): string {
    return this.task.id;
  }

  /** A further controller of the same task, as after a restart of the daemon. */
  controller(task: Task = this.task): ContainerController {
    const { runtime, images, volumes, networks, clock, dir } = this;
    const files = new TaskFiles({
      dir: join(dir, 'files'),
      memoryDir: join(dir, 'memory'),
      mountMemory: async () => void this.calls.push('mount memory'),
      unmountMemory: async () => void this.calls.push('unmount memory'),
    });
    return new ContainerController(
      task,
      this.dependencies,
      {
        runtime,
        images,
        volumes,
        networks,
        drains: this.drains,
        nameservers: () => ['10.0.0.53'],
        files,
        hostFacts: async () => NO_HOST_FACTS,
        settings: { ...DEFAULT_NODE_SETTINGS, forbidden: this.forbidden },
        resolveUser: async (user) => ({
          uid: Number(user.split(':')[0] || 0),
          gid: Number(user.split(':')[1] ?? 0),
          additionalGids: [],
          home: '/root',
        }),
        clock,
        log: silentLogger,
        tell: (event) => this.events.push(event),
        node: () => aNodeDescription({ hostname: 'here' }),
        tasksOf: (service) => this.mates.get(service) ?? [],
        namespaceOf: (pid) => this.namespaces.get(pid) ?? 'one for all',
      },
      () => this.closed++,
    );
  }

  /** Up to a running process. */
  async running(): Promise<ContainerController> {
    const controller = this.controller();
    await controller.prepare(this.signal);
    await controller.start(this.signal);
    this.calls.length = 0;
    return controller;
  }
}
