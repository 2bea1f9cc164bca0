/**
 * A process with an agent that dies as by kill -9 right after it began the step that it is told, of an
 * operation on its one task; without such a step it prints which there are. Run by
 * test/native/agent-fault-points.test.ts; argv: place as JSON.
 */
import { openAgentNode, ordered, TASK_ID } from './agent-node.ts';
import type { NodePlace } from './node-rooms.ts';

export type AgentOperation = 'start' | 'stop' | 'remove';

export interface DyingAgentPlace extends NodePlace {
  readonly operation: AgentOperation;
  /** the how-manieth step of the operation; null = none: it goes through all */
  readonly diesAt: number | null;
}

const place = JSON.parse(process.argv[2] ?? '{}') as DyingAgentPlace;
const steps: string[] = [];
let counts = false;
const node = await openAgentNode(place, null, (name) => {
  if (!counts) return;
  steps.push(name);
  if (steps.length - 1 === place.diesAt) process.kill(process.pid, 'SIGKILL');
});
setInterval(() => {}, 1000); // timers of the clock do not keep a process

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

const { tasks, watch } = node;
counts = place.operation === 'start';
await tasks.apply(ordered('running'), true);
await until(() => watch.states.at(-1) === 'running');
if (place.operation === 'stop') {
  counts = true;
  await tasks.apply(ordered('shutdown'), true);
  await until(() => watch.states.at(-1) === 'shutdown');
}
if (place.operation === 'remove') {
  counts = true;
  await tasks.apply([{ action: 'remove', kind: 'task', key: TASK_ID }], false);
  await until(() => watch.isForgotten);
}
await node.stop();
console.log(JSON.stringify(steps));
process.exit(0);
