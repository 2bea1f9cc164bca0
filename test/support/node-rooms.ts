/**
 * The rooms of a node that keep something of containers, all real and on disk, for suites that let its process die: images,
 * volumes, runtime, files; and what is left of them.
 */
import { createReadStream, existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { mountTmpfs, unmountTree } from '../../native/ffi/mount.ts';
import { TaskFiles } from '../../worker/executor/task-files.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { ImageUsers } from '../../worker/runtime/image-users.ts';
import { NativeRuntime } from '../../worker/runtime/native-runtime.ts';
import { VolumeStore } from '../../worker/volumes/volume-store.ts';

export interface NodePlace {
  readonly dir: string;
  readonly cgroupParent: string;
}

const COMMON = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger };

export interface NodeRooms {
  readonly common: typeof COMMON;
  readonly images: ImageStore;
  readonly volumes: VolumeStore;
  readonly runtime: NativeRuntime;
  readonly files: TaskFiles;
  readonly users: ImageUsers;
  stop(): Promise<void>;
}

/** Takes up what is there. @param imageTar to be loaded; null = it is there */
export async function openRooms(
  { dir, cgroupParent }: NodePlace,
  imageTar: string | null,
): Promise<NodeRooms> {
  const tell = (): void => {};
  const images = new ImageStore({ dir: join(dir, 'images'), ...COMMON, tell });
  const volumes = new VolumeStore({ dir: join(dir, 'volumes'), ...COMMON, tell });
  const runtime = new NativeRuntime({
    stateDir: join(dir, 'tasks'),
    cgroupParent,
    ...COMMON,
    onFailure: (err) => {
      throw err;
    },
  });
  await images.start();
  await volumes.start();
  await runtime.start();
  if (imageTar !== null) await images.load(createReadStream(imageTar));
  const files = new TaskFiles({
    dir: join(dir, 'files'),
    memoryDir: join(dir, 'memory'),
    mountMemory: mountTmpfs,
    unmountMemory: unmountTree,
  });
  return {
    ...{ common: COMMON, images, volumes, runtime, files, users: new ImageUsers() },
    stop: async () => {
      await runtime.stop();
      await images.stop();
    },
  };
}

/** Called right after the begin of an asynchronous call to a room, with its name. */
export type OnStep = (name: string) => void;

/** @param onEnd called right behind the call's success, before who called goes on */
export function watched<T extends object>(
  name: string,
  room: T,
  onStep: OnStep,
  onEnd: OnStep = () => {},
): T {
  return new Proxy(room, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        if (!(result instanceof Promise)) return result;
        const call = `${name}.${String(key)}`;
        onStep(call);
        return result.then((answer: unknown) => {
          onEnd(call);
          return answer;
        });
      };
    },
  });
}

/** What `leftIn` says of a node without containers. */
export const NOTHING_LEFT = {
  directories: [],
  groups: [],
  mounts: [],
  volumes: [],
  pins: [],
  processes: [],
};

function groupsOf(cgroupParent: string): string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((name) => join(root, name))]
    .map((path) => join(path, cgroupParent))
    .filter((path) => existsSync(path));
}

/** For the end of a suite that failed: groups of containers whose processes are gone, and their parent. */
export function removeGroups({ cgroupParent }: NodePlace): void {
  for (const parent of groupsOf(cgroupParent)) {
    const children = readdirSync(parent, { withFileTypes: true }).filter((it) => it.isDirectory());
    for (const { name } of children) rmdirSync(join(parent, name));
    rmdirSync(parent);
  }
}

/** All that the node has of containers: what this machine, its disk and its rooms say. */
export function leftIn({ dir, cgroupParent }: NodePlace, { volumes, images }: NodeRooms): object {
  const processes = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(join(dir, 'tasks'));
    } catch {
      return false; // it ended just now
    }
  });
  return {
    directories: ['tasks', 'files', 'memory', 'agent', 'containers'].flatMap((name) => {
      const path = join(dir, name);
      return existsSync(path) ? readdirSync(path).map((entry) => `${name}/${entry}`) : [];
    }),
    groups: groupsOf(cgroupParent),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(dir)),
    volumes: volumes.list().map(({ name }) => name),
    pins: images.pinnedContainers(),
    processes,
  };
}
