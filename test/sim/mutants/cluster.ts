/** Bugs of the rooms of a manager and of the agent. */
import type { Mutant } from './mutant.ts';

const SCHEDULER: readonly Mutant[] = [
  {
    name: 'constraints-ignored',
    bug: 'the scheduler takes nodes that the constraints of a task forbid',
    file: 'manager/scheduler/node-filters.ts',
    find: 'for (const test of tests) if (!test(node)) return false;',
    replace: 'for (const test of tests) if (!test(node)) return true;',
    invariants: [2, 4],
  },
  {
    name: 'room-ignored',
    bug: 'the scheduler gives away more CPUs than a node has',
    file: 'manager/scheduler/load-filters.ts',
    find: '(nanoCpus === 0 || nanoCpus <= table.freeNanoCpus[index]!) &&',
    replace: '',
    invariants: [2, 4],
  },
  {
    name: 'host-ports-shared',
    bug: 'two tasks on one node publish the same port of it',
    file: 'manager/scheduler/load-filters.ts',
    find: 'passes: (index) => !keys.some((key) => table.usesHostPort(index, key)),',
    replace: 'passes: () => keys.length > 0,',
    invariants: [4],
  },
  {
    name: 'max-replicas-ignored',
    bug: 'a node gets more tasks of a service than it may have',
    file: 'manager/scheduler/load-filters.ts',
    find: 'passes: (index) => activeAt(index) < limit,',
    replace: 'passes: (index) => activeAt(index) >= 0,',
    invariants: [4],
  },
];

const ALLOCATOR: readonly Mutant[] = [
  {
    name: 'tasks-not-in-books',
    bug: 'a new leader gives away addresses that tasks have',
    file: 'manager/allocator/allocation-book.ts',
    find: 'if (!keepsAddresses(task) || task.networks.length === 0) return;',
    replace: 'if (keepsAddresses(task) || task.networks.length >= 0) return;',
    invariants: [0, 5],
  },
  {
    name: 'services-not-in-books',
    bug: 'a new leader gives services other virtual addresses and ports than they have',
    file: 'manager/allocator/allocation-book.ts',
    find: 'if (service.endpoint) this.#restoreEndpoint(service.id, service.endpoint);',
    replace: '',
    invariants: [0, 2, 5],
  },
  {
    name: 'port-of-another',
    bug: 'a service gets a port that another one publishes',
    file: 'manager/allocator/port-pool.ts',
    find: 'if (sharing.some((owner) => owner.serviceId !== serviceId)) return false;',
    replace: '',
    also: [
      {
        file: 'common/model/reference-check.ts',
        find: 'if (service.id === serviceId) continue;',
        replace: "if (service.id !== '' || serviceId === '') continue;",
      },
    ],
    invariants: [5],
  },
];

const DISPATCHER: readonly Mutant[] = [
  {
    name: 'removal-untold',
    bug: 'a node is not told that a task of it is deleted',
    file: 'manager/dispatcher/node-assignments.ts',
    find: "out.push({ action: 'remove', kind: 'task', key: task.id });",
    replace: '',
    invariants: [2, 14],
  },
  {
    name: 'secrets-not-in-steps',
    bug: 'a task comes in a step without the secrets that it needs',
    file: 'manager/dispatcher/node-assignments.ts',
    find: "if (!before.secrets.has(id)) this.#tellFile('secret', id, view, out);",
    replace: "if (before.secrets.has(id)) this.#tellFile('secret', id, view, out);",
    invariants: [8, 14],
  },
  {
    name: 'tables-not-in-steps',
    bug: 'what changes in a network that a node takes part in is not told with its tasks',
    file: 'manager/dispatcher/node-assignments.ts',
    find: 'append(out, changes?.items ?? []);',
    replace: '',
    invariants: [2, 8, 14],
  },
  {
    name: 'resync-unheard',
    bug: 'an agent that says that it lacks something gets no whole set',
    file: 'manager/dispatcher/dispatcher.ts',
    find: '        this.#resyncSession(session);\n',
    replace: '',
    invariants: [2],
  },
  {
    name: 'slow-agents-flooded',
    bug: 'an agent gets steps while much is under way to it',
    file: 'manager/dispatcher/agent-session.ts',
    find: "    if (this.#pace !== 'even') {",
    replace: "    if (this.#pace === 'outdated') {",
    invariants: [0, 2, 8, 10, 14],
  },
  {
    name: 'statuses-unbounded',
    bug: 'statuses wait to be stored in any number',
    file: 'manager/dispatcher/status-writer.ts',
    find: 'if (this.#waiting.size + updates.length > WAITING_MAX) {',
    replace: 'if (this.#waiting.size + updates.length < 0) {',
    also: [
      {
        file: 'manager/dispatcher/status-writer.ts',
        find: 'const WAITING_MAX = 20_000;',
        replace: 'const WAITING_MAX = 2;',
      },
    ],
    invariants: [10],
  },
  {
    name: 'drains-unbounded',
    bug: 'revisions wait to be confirmed in any number',
    file: 'manager/dispatcher/pending-drains.ts',
    find: 'if (waitingFor.size === 0 || this.#groups.length >= GROUPS_MAX) return tasks;',
    replace: 'if (waitingFor.size === 0) return tasks;',
    also: [
      {
        file: 'manager/dispatcher/pending-drains.ts',
        find: 'const GROUPS_MAX = 1_000;',
        replace: 'const GROUPS_MAX = 1;',
      },
    ],
    invariants: [10],
  },
  {
    name: 'acknowledged-unstored',
    bug: 'statuses are acknowledged before they are stored',
    file: 'manager/dispatcher/dispatcher.ts',
    find: 'await this.#statuses.write(session.nodeId, updates);',
    replace: 'void this.#statuses.write(session.nodeId, updates).catch(() => {});',
    invariants: [2, 6],
  },
  {
    name: 'statuses-go-back',
    bug: 'an old report takes back a newer one',
    file: 'manager/dispatcher/status-writer.ts',
    find: 'if (isBefore(waiting.status.state, state)) return;',
    replace: '',
    invariants: [0, 6],
  },
  {
    name: 'ends-change',
    bug: 'a report of another end displaces the one that is stored',
    file: 'manager/dispatcher/status-writer.ts',
    find: 'if (isTerminal(state) && waiting.status.state !== state) return;',
    replace: '',
    invariants: [6],
  },
  {
    name: 'deaf-to-heartbeats',
    bug: 'what an agent says does not count as a sign of life',
    file: 'manager/dispatcher/liveness.ts',
    find: 'if (session) session.heardMs = this.#nowMs();',
    replace: 'void session;',
    invariants: [2, 9],
  },
  {
    name: 'absent-for-ever',
    bug: 'a node whose session ended is waited for without end',
    file: 'manager/dispatcher/liveness.ts',
    find: 'if (nowMs - sinceMs >= graceMs + queueMs) overdue.push(nodeId);',
    replace: 'if (nowMs - sinceMs >= 100 * (graceMs + queueMs)) overdue.push(nodeId);',
    invariants: [2, 9],
  },
];

const STORE: readonly Mutant[] = [
  {
    name: 'answered-early',
    bug: 'a write is acknowledged before it is committed',
    file: 'manager/store/store.ts',
    find: '    await committed;\n    if (pending.outcome === null) {',
    replace: "    if (actions.length > 0) return 'applied';\n    if (pending.outcome === null) {",
    invariants: [0, 2, 3],
  },
  {
    name: 'used-and-removed',
    bug: 'a network or secret is removed while a service that names it is being made',
    file: 'manager/store/apply.ts',
    find: 'if (!holds(tables, guard)) return',
    replace: "if (!holds(tables, guard) && guard.id === '') return",
    invariants: [0, 2, 13],
  },
  {
    name: 'restore-forgets',
    bug: 'a manager that starts from a snapshot lacks a secret',
    file: 'manager/store/store.ts',
    find: '    tables.revision = appliedIndex;\n    this.#tables = tables;',
    replace:
      "    tables.revision = appliedIndex;\n    this.#tables = tables;\n    for (const { id } of tables.list('secret').slice(0, 1)) tables.remove('secret', id);",
    invariants: [0, 2, 8, 11],
  },
  {
    name: 'feed-unbounded',
    bug: 'commits are kept for readers in any number',
    file: 'manager/store/feed.ts',
    find: 'while (this.endSeq - this.#firstSeq > FEED_COMMITS_MAX || this.#changes > FEED_CHANGES_MAX) {',
    replace: 'while (this.#changes < 0) {',
    also: [
      {
        file: 'manager/store/feed.ts',
        find: 'export const FEED_COMMITS_MAX = 10_000;',
        replace: 'export const FEED_COMMITS_MAX = 100;',
      },
    ],
    invariants: [10],
  },
];

const LOGS: readonly Mutant[] = [
  {
    name: 'log-unbounded',
    bug: 'what nodes write is read whether or not the reader of it takes it',
    file: 'common/base/queue.ts',
    find: 'if (this.#closed || this.#items.length >= this.#limit) return false;',
    replace: 'if (this.#closed) return false;',
    also: [
      {
        file: 'manager/logbroker/log-broker.ts',
        find: 'const QUEUE_MAX = 1_000;',
        replace: 'const QUEUE_MAX = 4;',
      },
    ],
    invariants: [10],
  },
];

const AGENT: readonly Mutant[] = [
  {
    name: 'lack-unnoticed',
    bug: 'an agent takes a set for whole whatever its checksum says',
    file: 'worker/agent/assignment-assembly.ts',
    find: "const agrees = expected === '' || expected === actual;",
    replace: "const agrees = expected === '' || actual !== '';",
    invariants: [2, 8],
  },
  {
    name: 'reports-unbounded',
    bug: 'reports that nobody acknowledges are sent in any number',
    file: 'worker/agent/status-reporter.ts',
    find: '    if (this.#inFlight.size >= IN_FLIGHT_MAX) return null;',
    replace: '',
    also: [
      {
        file: 'worker/agent/status-reporter.ts',
        find: 'const IN_FLIGHT_MAX = 256;',
        replace: 'const IN_FLIGHT_MAX = 3;',
      },
    ],
    invariants: [10],
  },
  {
    name: 'acknowledged-kept',
    bug: 'reports that were acknowledged count as in flight for ever',
    file: 'worker/agent/status-reporter.ts',
    find: '      this.#inFlight.delete(stored);',
    replace: '',
    also: [
      {
        file: 'worker/agent/status-reporter.ts',
        find: 'const IN_FLIGHT_MAX = 256;',
        replace: 'const IN_FLIGHT_MAX = 8;',
      },
    ],
    invariants: [2],
  },
  {
    name: 'sent-is-stored',
    bug: 'statuses that were under way when a session ended are not sent again',
    file: 'worker/agent/status-reporter.ts',
    find: '    this.#inFlight.clear();\n    this.#sent.clear();\n',
    replace: '    this.#inFlight.clear();\n',
    invariants: [2],
  },
  {
    name: 'newest-forgotten',
    bug: 'the word that an older status is stored is taken for the newest one',
    file: 'worker/agent/status-reporter.ts',
    find: 'if (this.#unstored.get(taskId) === status) this.forget(taskId);',
    replace: 'this.forget(taskId); void status;',
    invariants: [2],
  },
  {
    name: 'old-set-stays',
    bug: 'tasks that a whole set does not name stay on the node',
    file: 'worker/agent/task-manager.ts',
    find: 'if (!named.has(taskId)) this.#remove(taskId);',
    replace: 'if (named.size < 0) this.#remove(taskId);',
    invariants: [2, 7],
  },
  {
    name: 'shutdown-ignored',
    bug: 'a task that is to stop runs until it is deleted',
    file: 'worker/agent/task-steps.ts',
    find: "(desired === 'shutdown' || desired === 'remove')) return 'shutdown';",
    replace: "desired === 'remove') return 'shutdown';",
    invariants: [2, 7],
  },
  {
    name: 'runs-unasked',
    bug: 'a task that is only to be got ready is started',
    file: 'worker/agent/task-steps.ts',
    find: "return desired === 'ready' ? 'rest' : 'begin-starting';",
    replace: "return 'begin-starting';",
    invariants: [2, 7],
  },
];

const ORCHESTRATORS: readonly Mutant[] = [
  {
    name: 'new-beside-old',
    bug: 'the new task of an update that stops first is let run while the old one serves',
    file: 'manager/orchestrator/plan-seat.ts',
    find: '      if (this.#awaitsEnd) continue;',
    replace: '',
    invariants: [1, 7],
  },
  {
    name: 'successor-waits-not',
    bug: 'a task is let run while the one that it replaces still does',
    file: 'manager/orchestrator/restart-policy.ts',
    find: 'if (stopping.length === 0) return delayOver;',
    replace: 'if (stopping.length >= 0) return delayOver;',
    invariants: [7],
  },
  {
    name: 'filled-too-early',
    bug: 'a seat is filled while something that was told to stop runs there',
    file: 'manager/orchestrator/restart-policy.ts',
    find: "return tasks.every((task) => hasStopped(task, world)) ? 'running' : 'ready';",
    replace: "return tasks.length >= 0 || world ? 'running' : 'ready';",
    invariants: [7],
  },
  {
    name: 'lost-not-replaced',
    bug: 'a task whose node is down or drained is not replaced',
    file: 'manager/orchestrator/plan-seat.ts',
    find: 'return task.nodeId !== null && isLost(world.node(task.nodeId));',
    replace: 'return task.nodeId !== null && isLost(world.node(task.nodeId)) && world.nowMs < 0;',
    invariants: [2, 12],
  },
  {
    name: 'nowhere-for-ever',
    bug: 'a task that came to a node as it was removed is waited for without end',
    file: 'manager/orchestrator/constraint-enforcer.ts',
    find: "return view.get('node', task.nodeId) === undefined;",
    replace: "return view.get('node', task.nodeId) === undefined && state === 'new';",
    invariants: [2],
  },
  {
    name: 'one-too-many',
    bug: 'scaled down, a service keeps one task more than it is to have',
    file: 'manager/orchestrator/plan-replicated.ts',
    find: 'return ranked.slice(0, replicas).map(({ plan }) => plan);',
    replace: 'return ranked.slice(0, replicas + 1).map(({ plan }) => plan);',
    invariants: [2],
  },
  {
    name: 'update-waits-for-ever',
    bug: 'an update waits for a task that was told to stop on a node that does not come back',
    file: 'manager/orchestrator/plan-update.ts',
    find: "if (isBefore(task.status.state, 'running') && isWanted(task)) continue;",
    replace: "if (isBefore(task.status.state, 'running')) continue;",
    invariants: [2],
  },
];

export const CLUSTER_MUTANTS: readonly Mutant[] = [
  ...SCHEDULER,
  ...ALLOCATOR,
  ...DISPATCHER,
  ...STORE,
  ...LOGS,
  ...AGENT,
  ...ORCHESTRATORS,
];
