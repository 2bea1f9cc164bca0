/**
 * A process of fake agents, started by fleet.ts: takes orders, reports each second, and ends with its channel. Ctrl-C
 * reaches it too when it is pressed in a terminal, and is left to the command.
 */

import { Backoff } from '../../../common/base/backoff.ts';
import { SystemClock } from '../../../common/base/clock.ts';
import { describeError, hasCode } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { LOG_DRIVERS } from '../../../common/model/log-driver.ts';
import type { NodeDescription } from '../../../common/model/node.ts';
import type { Identity } from '../../../common/pki/identity.ts';
import { issuerAt, requestIdentity } from '../../../common/rpc/join-cluster.ts';
import { anonymousClient } from '../../../common/rpc/pool.ts';
import { FakeAgent } from './fake-agent.ts';
import type { Assignment, Order, Reply } from './messages.ts';

const REPORT_PERIOD_MS = 1_000;
/** Requests for certificates that this process has under way: enough to keep a manager busy. */
const REQUESTS_AT_ONCE = 8;
const RETRY = { baseMs: 200, maxMs: 5_000 };
const ATTEMPTS_MAX = 10;

const clock = new SystemClock();
const random = new SystemRandom();
const agents: FakeAgent[] = [];
let heartbeatsMs: number[] = [];

function tell(reply: Reply): void {
  process.send?.(reply);
}

function fail(err: unknown): void {
  tell({ kind: 'failed', message: describeError(err) });
}

function report(): void {
  const answered = heartbeatsMs;
  heartbeatsMs = [];
  const sum = (read: (agent: FakeAgent) => number): number =>
    agents.reduce((total, agent) => total + read(agent), 0);
  tell({
    kind: 'report',
    joined: agents.length,
    connected: sum(({ connected }) => Number(connected)),
    sessions: sum(({ sessions }) => sessions),
    differences: sum(({ differences }) => differences),
    runningTasks: sum(({ runningTasks }) => runningTasks),
    heartbeatsMs: answered,
    refusal: agents.find(({ refusal }) => refusal !== '')?.refusal ?? '',
  });
}

async function begin(assignment: Assignment): Promise<void> {
  const { count, token, rootPem } = assignment;
  const client = anonymousClient({ address: assignment.managers[0]!, rootPem, clock });
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const parts = {
        issue: issuerAt(client),
        token,
        availability: 'active' as const,
        rootPem,
        clock,
      };
      await add(assignment, i, await patiently(() => requestIdentity(parts)));
    }
  };
  try {
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, work));
  } finally {
    client.close();
  }
}

/** A manager that is full, or was just killed, is asked again for a while: what it holds is the question. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(RETRY, random);
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (err) {
      if (!hasCode(err, 'unavailable', 'no-leader', 'not-leader', 'deadline-exceeded')) throw err;
      if (attempt === ATTEMPTS_MAX) throw err;
      await clock.sleep(backoff.nextDelayMs());
    }
  }
}

async function add(assignment: Assignment, index: number, identity: Identity): Promise<void> {
  const agent = new FakeAgent({
    identity,
    description: descriptionOf(assignment, assignment.firstNumber + index),
    managerAddresses: assignment.managers,
    onHeartbeat: (elapsedMs) => heartbeatsMs.push(elapsedMs),
    clock,
    random,
    log: silentLogger,
    onFailure: fail,
  });
  agents.push(agent);
  await agent.start();
}

/** An address that leads nowhere (RFC 2544): no real node is to send it packets. */
function descriptionOf({ nanoCpus, memoryBytes }: Assignment, number: number): NodeDescription {
  return {
    hostname: `fake-${number}`,
    platform: { architecture: 'x86_64', os: 'linux' },
    nanoCpus,
    memoryBytes,
    generic: [],
    engineVersion: 'fake',
    engineLabels: { 'skep.dev.agent': 'fake' },
    plugins: [
      ...LOG_DRIVERS.map((name) => ({ type: 'Log', name })),
      { type: 'Network', name: 'overlay' },
      { type: 'Volume', name: 'local' },
    ],
    address: `198.${18 + ((number >> 16) & 1)}.${(number >> 8) & 255}.${number & 255}:2377`,
    encryptionKey: '',
    underlayMtu: 0,
    devices: [],
    dataPathAddress: '',
    tlsInfo: null,
  };
}

async function obey(order: Order): Promise<void> {
  switch (order.kind) {
    case 'begin':
      return begin(order.assignment);
    case 'end': {
      const nodeIds = agents.map(({ nodeId }) => nodeId);
      await Promise.all(agents.splice(0).map((agent) => agent.stop()));
      tell({ kind: 'ended', nodeIds });
    }
  }
}

process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (order: Order) => void obey(order).catch(fail));
clock.setPeriodic(REPORT_PERIOD_MS, report);
