/**
 * A node without managers and without a network: the agent's task manager over executor, images, volumes, files
 * and runtime, all real and on disk, for suites that let its process die. Orders come as a dispatcher would send them.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type AssignmentChange, assignmentKey } from '../../common/model/assignment.ts';
import { asId, type SecretId, type ServiceId, type TaskId } from '../../common/model/ids.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { mountTmpfs, unmountTree } from '../../native/ffi/mount.ts';
import { StatusReporter } from '../../worker/agent/status-reporter.ts';
import { TaskDatabase } from '../../worker/agent/task-database.ts';
import { TaskManager } from '../../worker/agent/task-manager.ts';
import { ContainerExecutor } from '../../worker/executor/container-executor.ts';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { DEFAULT_NODE_SETTINGS } from '../../worker/executor/node-settings.ts';
import type { Networks } from '../../worker/executor/ports.ts';
import { TaskFiles } from '../../worker/executor/task-files.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { ImageUsers } from '../../worker/runtime/image-users.ts';
import { NativeRuntime } from '../../worker/runtime/native-runtime.ts';
import { VolumeStore } from '../../worker/volumes/volume-store.ts';
import { aContainerSpec, aNodeDescription, aTask, aTaskSpec, aTaskStatus } from './builders.ts';

export interface AgentPlace {
  readonly dir: string;
  readonly cgroupParent: string;
}

export const IMAGE = 'box:1';
export const TASK_ID = asId<TaskId>('faultpointtask');

const SECRET_ID = asId<SecretId>('faultpointsecret');
const SECRET = { id: SECRET_ID, name: 'pass', data: Buffer.from('hush'), templateDriver: '' };
const DESCRIPTION = aNodeDescription({ hostname: 'box', plugins: [] });
/** Has all that a task may have on its node, and writes a line for each time that it is run. */
const TASK = aTask({
  id: TASK_ID,
  serviceId: asId<ServiceId>('faultpointservice'),
  status: aTaskStatus({ state: 'assigned' }),
  spec: aTaskSpec({
    container: aContainerSpec({
      image: IMAGE,
      args: ['sh', '-c', 'echo run >> /ran; exec sleep 1000'],
      stopSignal: 'SIGKILL',
      mounts: [
        {
          ...{ bind: null, volume: null, tmpfs: null },
          type: 'volume',
          source: '',
          target: '/data',
          readOnly: false,
        },
      ],
      secrets: [
        {
          secretId: SECRET_ID,
          secretName: 'pass',
          file: { name: 'pass', uid: '0', gid: '0', mode: 0o444 },
        },
      ],
    }),
  }),
});

const set = <K extends AssignmentChange['kind']>(kind: K, item: object): AssignmentChange =>
  ({ action: 'set', kind, key: assignmentKey(kind, item as never), item }) as AssignmentChange;

/** The order to run it, or to stop it. */
export function ordered(desiredState: Task['desiredState']): AssignmentChange[] {
  return [set('secret', SECRET), set('task', { ...TASK, desiredState })];
}

/** Keeps nothing for a manager; tells who waits. */
class Watch extends StatusReporter {
  readonly states: TaskStatus['state'][] = [];
  isForgotten = false;

  override report(_taskId: TaskId, status: TaskStatus): void {
    this.states.push(status.state);
  }

  override forget(): void {
    this.isForgotten = true;
  }
}

const NETWORKS: Networks = {
  apply: async () => {},
  attachTask: async () => ({ hostPorts: [] }),
  adoptTask: async () => {},
  publishPorts: async (_, ports) => ports,
  detachTask: async () => {},
};

export interface AgentNode {
  readonly tasks: TaskManager;
  readonly runtime: NativeRuntime;
  readonly volumes: VolumeStore;
  readonly images: ImageStore;
  readonly watch: Watch;
  stop(): Promise<void>;
}

/**
 * Takes up what is there. @param imageTar to be loaded; null = it is there
 * @param onStep called right after the begin of each asynchronous call to a room, with its name
 */
export async function openAgentNode(
  { dir, cgroupParent }: AgentPlace,
  imageTar: string | null,
  onStep: (name: string) => void = () => {},
): Promise<AgentNode> {
  const common = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger };
  const onFailure = (err: unknown): void => {
    throw err;
  };
  const tell = (): void => {};
  const images = new ImageStore({ dir: join(dir, 'images'), ...common, tell });
  const volumes = new VolumeStore({ dir: join(dir, 'volumes'), ...common, tell });
  const runtime = new NativeRuntime({
    stateDir: join(dir, 'tasks'),
    cgroupParent,
    ...common,
    onFailure,
  });
  await images.start();
  await volumes.start();
  await runtime.start();
  if (imageTar !== null) await images.load(createReadStream(imageTar));
  const watch = new Watch();
  const files = new TaskFiles({
    dir: join(dir, 'files'),
    memoryDir: join(dir, 'memory'),
    mountMemory: mountTmpfs,
    unmountMemory: unmountTree,
  });
  const users = new ImageUsers();
  const executor = new ContainerExecutor({
    runtime: watched('runtime', runtime, onStep),
    images: watched('images', images, onStep),
    volumes: watched('volumes', volumes, onStep),
    networks: watched('networks', NETWORKS, onStep),
    files: watched('files', files, onStep),
    drains: { whenDrained: async () => {}, forget: () => {} },
    nameservers: () => [],
    hostFacts,
    settings: DEFAULT_NODE_SETTINGS,
    resolveUser: (user, lowerDirs) => users.resolve(user, lowerDirs),
    describe: () => DESCRIPTION,
    tell,
    ...common,
  });
  const database = watched('database', new TaskDatabase(join(dir, 'agent'), silentLogger), onStep);
  const tasks = new TaskManager({ executor, database, reporter: watch, ...common, onFailure });
  await tasks.start();
  return {
    ...{ tasks, runtime, volumes, images, watch },
    stop: async () => {
      await tasks.stop();
      await runtime.stop();
      await images.stop();
    },
  };
}

function watched<T extends object>(name: string, room: T, onStep: (name: string) => void): T {
  return new Proxy(room, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        if (result instanceof Promise) onStep(`${name}.${String(key)}`);
        return result;
      };
    },
  });
}
