/**
 * A process with containers outside of services that dies as by kill -9 at the step that it is told, of an
 * operation on its one container; without such a step it prints which there are. Run by
 * test/native/plain-fault-points.test.ts; argv: place as JSON.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { NodePlace } from './node-rooms.ts';
import { definition, NAME, openPlainNode } from './plain-node.ts';

export type PlainOperation = 'create' | 'start' | 'stop' | 'restart' | 'remove' | 'removeRunning';

export interface DyingPlainPlace extends NodePlace {
  readonly operation: PlainOperation;
  /** the how-manieth step of the operation; null = none: it goes through all */
  readonly diesAt: number | null;
}

const place = JSON.parse(process.argv[2] ?? '{}') as DyingPlainPlace;
const steps: string[] = [];
let counts = false;
const node = await openPlainNode(place, null, (name) => {
  if (!counts) return;
  steps.push(name);
  if (steps.length - 1 === place.diesAt) process.kill(process.pid, 'SIGKILL');
});
setInterval(() => {}, 1000); // timers of the clock do not keep a process

const { containers } = node;
const { clock } = node.rooms.common;
const created = () => containers.create(NAME, definition('unless-stopped'));
const running = async () => {
  const container = await created();
  await container.start();
  // A start tells of the command's begin, not of what it did.
  while (!existsSync(join(place.dir, 'tasks', container.id, 'upper/ran'))) await clock.sleep(1);
  return container;
};
const stopped = async () => {
  const container = await running();
  await container.stop(AT_ONCE);
  return container;
};
const AT_ONCE = { graceMs: null, signo: null };

/** What goes before, and the operation itself. */
const OPERATIONS: Readonly<Record<PlainOperation, () => Promise<() => Promise<unknown>>>> = {
  create: async () => created,
  start: async () => {
    const container = await created();
    return () => container.start();
  },
  stop: async () => {
    const container = await running();
    return () => container.stop(AT_ONCE);
  },
  restart: async () => {
    const container = await running();
    return () => container.restart(AT_ONCE);
  },
  remove: async () => {
    const container = await stopped();
    return () => container.remove({ force: false, volumes: true });
  },
  removeRunning: async () => {
    const container = await running();
    return () => container.remove({ force: true, volumes: true });
  },
};

const operation = await OPERATIONS[place.operation]();
counts = true;
await operation();
counts = false;
await node.stop();
console.log(JSON.stringify(steps));
process.exit(0);
