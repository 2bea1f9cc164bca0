/** Fake agents at the managers of a benchmark: those that `skep dev agents` joins. */
import { AgentFleet } from '../../cli/dev/agents/fleet.ts';
import { SystemClock } from '../../common/base/clock.ts';
import { fetchRoot } from '../../common/rpc/join-cluster.ts';
import type { ManagerGroup } from '../support/manager-seats.ts';
import { say } from '../support/report.ts';
import { sleepMs } from '../support/wait.ts';

const clock = new SystemClock();
const JOIN_LIMIT_MS = 300_000;
const GIB = 2 ** 30;

/** Joined and connected. Their processes end with this one. */
export async function joinFleet(
  group: ManagerGroup,
  count: number,
  processes?: number,
): Promise<AgentFleet> {
  const { joinToken: token, seats } = group;
  const managers = seats.map(({ address }) => address);
  const rootPem = await fetchRoot({ remoteAddress: managers[0]!, token, clock });
  const fleet = new AgentFleet({
    ...{ count, managers, token, rootPem, clock },
    ...(processes === undefined ? {} : { processes }),
    nanoCpus: 64e9,
    memoryBytes: 256 * GIB,
    onFailure: (err) => {
      say(`the fake agents failed: ${String(err)}`);
      process.exit(1);
    },
  });
  process.once('exit', () => fleet.kill());
  const startMs = performance.now();
  fleet.start();
  await untilConnected(fleet, count, JOIN_LIMIT_MS);
  const seconds = (performance.now() - startMs) / 1_000;
  say(`${count} agents joined in ${seconds.toFixed(1)} s, ${(count / seconds).toFixed(0)}/s`);
  return fleet;
}

/** All of them. */
export async function untilConnected(
  fleet: AgentFleet,
  count: number,
  limitMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (fleet.status.connected < count) {
    if (performance.now() > deadlineMs) {
      throw new Error(
        `${fleet.status.connected} of ${count} agents are connected after ${limitMs} ms`,
      );
    }
    await sleepMs(100);
  }
}
