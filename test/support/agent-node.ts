/**
 * A node without managers and without a network: the agent's task manager over an executor and the rooms of a node,
 * for suites that let its process die. Orders come as a dispatcher would send them.
 */
import { join } from 'node:path';
import { silentLogger } from '../../common/base/log.ts';
import { type AssignmentChange, assignmentKey } from '../../common/model/assignment.ts';
import { asId, type SecretId, type ServiceId, type TaskId } from '../../common/model/ids.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { StatusReporter } from '../../worker/agent/status-reporter.ts';
import { TaskDatabase } from '../../worker/agent/task-database.ts';
import { TaskManager } from '../../worker/agent/task-manager.ts';
import { ContainerExecutor } from '../../worker/executor/container-executor.ts';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { DEFAULT_NODE_SETTINGS } from '../../worker/executor/node-settings.ts';
import type { Networks } from '../../worker/executor/ports.ts';
import { aContainerSpec, aNodeDescription, aTask, aTaskSpec, aTaskStatus } from './builders.ts';
import { type NodePlace, type NodeRooms, type OnStep, openRooms, watched } from './node-rooms.ts';

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
  localAddresses: () => [],
  networkOf: () => null,
};

export interface AgentNode {
  readonly tasks: TaskManager;
  readonly rooms: NodeRooms;
  readonly watch: Watch;
  stop(): Promise<void>;
}

/** Takes up what is there. @param imageTar to be loaded; null = it is there */
export async function openAgentNode(
  place: NodePlace,
  imageTar: string | null,
  onStep: OnStep = () => {},
): Promise<AgentNode> {
  const rooms = await openRooms(place, imageTar);
  const { common, users } = rooms;
  const onFailure = (err: unknown): void => {
    throw err;
  };
  const watch = new Watch();
  const executor = new ContainerExecutor({
    runtime: watched('runtime', rooms.runtime, onStep),
    images: watched('images', rooms.images, onStep),
    volumes: watched('volumes', rooms.volumes, onStep),
    networks: watched('networks', NETWORKS, onStep),
    files: watched('files', rooms.files, onStep),
    drains: { whenDrained: async () => {}, forget: () => {} },
    nameservers: () => [],
    hostFacts,
    settings: DEFAULT_NODE_SETTINGS,
    resolveUser: (user, lowerDirs) => users.resolve(user, lowerDirs),
    describe: () => DESCRIPTION,
    node: () => DESCRIPTION,
    tell: () => {},
    ...common,
  });
  const database = watched(
    'database',
    new TaskDatabase(join(place.dir, 'agent'), silentLogger),
    onStep,
  );
  const tasks = new TaskManager({ executor, database, reporter: watch, ...common, onFailure });
  await tasks.start();
  return {
    ...{ tasks, rooms, watch },
    stop: async () => {
      await tasks.stop();
      await rooms.stop();
    },
  };
}
