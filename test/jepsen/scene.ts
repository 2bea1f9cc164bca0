/**
 * The cluster under test as a nemesis sees it: acts on its daemons, links and members, and keeps the
 * record of what was up and connected. A thing counts as broken from before it is touched until after
 * it is mended.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { withHost } from '../../cli/dev/cluster.ts';
import { daemonPid, killDaemon, startDaemon, stopDaemon } from '../../cli/dev/daemon-process.ts';
import { signalProcess } from '../../cli/dev/kernel.ts';
import { type ClusterPlan, type HostPlan, SUBNET_PREFIX } from '../../cli/dev/plan.ts';
import type { Clock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { Reach, ReachChange } from '../support/availability.ts';
import { type Slowness, setAddress, setDrops, setSlow } from './network-faults.ts';

const POLL_MS = 100;
const CALL_LIMIT_MS = 4_000;
/** While nobody leads, nobody is told to lead. */
const LEADER_LIMIT_MS = 500;
const CLUSTER_PORT = 2377;
/** Of the addresses that hosts move to: above those that `skep dev` gives. */
const FIRST_MOVED_NUMBER = 211;
const MOVED_NUMBERS = 40;
/** After a member came or went, until both its certificate and its vote are surely in force. */
const SETTLE_MS = 2_000;

export interface SceneOptions {
  readonly plan: ClusterPlan;
  readonly clock: Clock;
  /** Ends waits; what is broken stays so until `healAll`. */
  readonly signal: AbortSignal;
  readonly slowness: Slowness;
  readonly nowMs: () => number;
}

export class Scene {
  readonly changes: ReachChange[] = [];
  /** Daemons that ended by themselves, with the time at which it was noticed. */
  readonly fallen: string[] = [];
  readonly #options: SceneOptions;
  readonly #up = new Set<string>();
  /** Reasons for which `a>b` is broken: a link may be cut for several. */
  readonly #cuts = new Map<string, number>();
  /** By receiver: senders by name, for they may move. */
  readonly #drops = new Map<string, { readonly from: string; readonly share: number }[]>();
  /** As they are now. */
  readonly #hosts: HostPlan[];
  #moves = 0;
  #voters: (readonly string[])[];

  constructor(options: SceneOptions) {
    this.#options = options;
    this.#hosts = [...options.plan.hosts];
    for (const { name } of options.plan.hosts) this.#up.add(name);
    this.#voters = [options.plan.hosts.map(({ name }) => name)];
    this.#note();
  }

  get hosts(): readonly HostPlan[] {
    return this.#hosts;
  }

  get voters(): readonly string[] {
    return this.#voters.at(-1)!;
  }

  isUp(host: HostPlan): boolean {
    return this.#up.has(host.name);
  }

  /** The host that most lately is known to lead, asked of whoever answers; null when nobody knows. */
  async leader(): Promise<HostPlan | null> {
    const nodes = await this.#nodes(LEADER_LIMIT_MS).catch(() => []);
    const node = nodes.find(({ ManagerStatus }) => ManagerStatus?.Leader);
    return this.hosts.find(({ name }) => name === node?.Description?.Hostname) ?? null;
  }

  // Daemons.

  async kill(host: HostPlan): Promise<void> {
    const runs = await this.#runsAsItShould(host);
    this.#setUp(host, false);
    if (runs) await killDaemon(host, this.#options.clock);
  }

  /** SIGTERM: it hands leadership over and ends. */
  async terminate(host: HostPlan): Promise<void> {
    this.#setUp(host, false);
    await stopDaemon(host, this.#options.clock);
  }

  async restart({ name }: HostPlan): Promise<void> {
    const { plan, clock } = this.#options;
    const host = this.#host(name);
    // Not the run's signal: what was killed is started again also at the end.
    const never = new AbortController().signal;
    const start = (): Promise<unknown> => startDaemon(host, plan.settings, clock, never);
    await start().catch((err: unknown) => {
      this.fallen.push(`${name} at its start: ${describeError(err)}`);
      return start(); // what the rest of the run shows is worth having
    });
    this.#setUp(host, true);
  }

  /** Of a host whose daemon does not run: what it is started with next is another address. */
  async move({ name }: HostPlan): Promise<void> {
    const { plan } = this.#options;
    const host = this.#host(name);
    const number = FIRST_MOVED_NUMBER + (this.#moves++ % MOVED_NUMBERS);
    const address = `${SUBNET_PREFIX}.${plan.subnet}.${number}`;
    await setAddress(host, address, plan.bridgeAddress);
    this.#hosts[this.#hosts.indexOf(host)] = { ...host, address };
    await this.#writeDrops(this.#hosts);
  }

  async pause(host: HostPlan): Promise<void> {
    this.#setUp(host, false);
    await this.#signal(host, 'SIGSTOP');
  }

  async resume(host: HostPlan): Promise<void> {
    await this.#signal(host, 'SIGCONT');
    this.#setUp(host, true);
  }

  // Links.

  /** Returns what mends it. */
  async breakLinks(
    links: readonly { readonly from: HostPlan; readonly to: HostPlan; readonly share: number }[],
  ): Promise<() => Promise<void>> {
    const added = links.map(({ from, to, share }) => ({ to, drop: { from: from.name, share } }));
    this.#setCuts(links, 1);
    for (const { to, drop } of added) this.#dropsAt(to).push(drop);
    const receivers = new Set(links.map(({ to }) => to));
    await this.#writeDrops(receivers);
    return async () => {
      for (const { to, drop } of added) {
        const drops = this.#dropsAt(to);
        drops.splice(drops.indexOf(drop), 1);
      }
      await this.#writeDrops(receivers);
      this.#setCuts(links, -1);
    };
  }

  /** What the host sends comes late. Returns what mends it. */
  async slowDown(host: HostPlan): Promise<() => Promise<void>> {
    const links = this.hosts
      .filter(({ name }) => name !== host.name)
      .map((to) => ({ from: host, to }));
    this.#setCuts(links, 1);
    await setSlow(host, this.#options.slowness);
    return async () => {
      await setSlow(host, null);
      this.#setCuts(links, -1);
    };
  }

  // Members.

  /** Demotes a manager and waits until it is a worker; false when the cluster did not get there. */
  async demote(host: HostPlan, withinMs: number): Promise<boolean> {
    const rest = this.voters.filter((name) => name !== host.name);
    this.#setVoters([this.voters, rest]);
    const done = await this.#setRole(host, 'worker', withinMs);
    if (done) this.#setVoters([rest]);
    return done;
  }

  async promote(host: HostPlan, withinMs: number): Promise<boolean> {
    const all = [...new Set([...this.voters, host.name])].sort();
    this.#setVoters([this.voters.filter((name) => name !== host.name), all]);
    const done = await this.#setRole(host, 'manager', withinMs);
    if (done) {
      await sleep(SETTLE_MS);
      this.#setVoters([all]);
    }
    return done;
  }

  /** A worker leaves the cluster, is forgotten by it, and comes back as a new node and manager. */
  async replace({ name }: HostPlan, withinMs: number): Promise<boolean> {
    const host = this.#host(name);
    const deadline = this.#options.nowMs() + withinMs;
    await withHost(host, (client) => client.swarmLeave(true));
    const forgotten = await this.#until(deadline, async () => {
      const other = this.#anyOther(host);
      return withHost(other, async (client) => {
        const nodes = await client.nodes();
        const old = nodes.filter(({ Description }) => Description?.Hostname === host.name);
        for (const { ID } of old) await client.nodeRemove(ID, true);
        return old.length === 0;
      });
    });
    const all = [...new Set([...this.voters, host.name])].sort();
    this.#setVoters([this.voters.filter((name) => name !== host.name), all]);
    const joined =
      forgotten &&
      (await this.#until(deadline, async () => {
        const other = this.#anyOther(host);
        const token = await withHost(other, async (client) => {
          return (await client.swarm()).JoinTokens?.Manager ?? '';
        });
        await withHost(host, (client) =>
          client.swarmJoin({
            ListenAddr: `${host.address}:${CLUSTER_PORT}`,
            AdvertiseAddr: host.address,
            DataPathAddr: '',
            RemoteAddrs: [`${other.address}:${CLUSTER_PORT}`],
            JoinToken: token,
            Availability: 'active',
          }),
        );
        return true;
      }));
    if (!joined) return false;
    await sleep(SETTLE_MS);
    this.#setVoters([all]);
    return true;
  }

  /** Waits until every host is a reachable manager: null, or how it looks when the time is over. */
  async becomeWhole(withinMs: number): Promise<string | null> {
    for (const host of this.hosts) {
      if (!this.voters.includes(host.name)) await this.promote(host, withinMs);
    }
    const deadline = this.#options.nowMs() + withinMs;
    let picture = 'nobody tells';
    const isWhole = await this.#until(deadline, async () => {
      const nodes = await this.#nodes(CALL_LIMIT_MS);
      picture = nodes
        .map(({ Description, Status, ManagerStatus }) =>
          [Description?.Hostname, Status?.State, ManagerStatus?.Reachability].join(' '),
        )
        .join('; ');
      return this.hosts.every(({ name }) =>
        nodes.some(
          ({ Description, Status, ManagerStatus }) =>
            Description?.Hostname === name &&
            Status?.State === 'ready' &&
            ManagerStatus?.Reachability === 'reachable',
        ),
      );
    });
    return isWhole ? null : picture;
  }

  /** Links and daemons as they were at first. */
  async healAll(): Promise<void> {
    this.#drops.clear();
    for (const host of this.hosts) {
      await setDrops(host, []);
      await setSlow(host, null);
    }
    this.#cuts.clear();
    this.#note();
    for (const host of this.hosts) {
      await this.#runsAsItShould(host);
      await this.#signal(host, 'SIGCONT');
      if ((await daemonPid(host)) === null) await this.restart(host);
      this.#setUp(host, true);
    }
  }

  async #setRole(host: HostPlan, role: 'worker' | 'manager', withinMs: number): Promise<boolean> {
    const deadline = this.#options.nowMs() + withinMs;
    return this.#until(deadline, () =>
      withHost(this.#anyOther(host), async (client) => {
        const nodes = await client.nodes();
        const node = nodes.find(({ Description }) => Description?.Hostname === host.name);
        if (!node) return false;
        if (node.Spec.Role !== role) {
          await client.nodeUpdate(node.ID, node.Version.Index, { ...node.Spec, Role: role });
        }
        const isManager = node.ManagerStatus !== undefined;
        const isReachable = node.ManagerStatus?.Reachability === 'reachable';
        return role === 'manager' ? isReachable : !isManager && node.Spec.Role === role;
      }),
    );
  }

  /** As the first manager that answers sees them. */
  #nodes(limitMs: number): Promise<readonly NodeJson[]> {
    const up = this.hosts.filter((host) => this.isUp(host));
    return Promise.any(
      up.map((host) =>
        limited(
          withHost(host, (client) => client.nodes()),
          limitMs,
        ),
      ),
    );
  }

  #anyOther(host: HostPlan): HostPlan {
    const others = this.hosts.filter((other) => other.name !== host.name && this.isUp(other));
    const chosen = others[Math.floor(this.#options.nowMs()) % Math.max(1, others.length)];
    if (!chosen) throw new Error('no other manager is up');
    return chosen;
  }

  /** False when the time is over; failures of `attempt` are tried again. */
  async #until(deadlineMs: number, attempt: () => Promise<boolean>): Promise<boolean> {
    while (this.#options.nowMs() < deadlineMs && !this.#options.signal.aborted) {
      if (await limited(attempt(), CALL_LIMIT_MS).catch(() => false)) return true;
      await sleep(POLL_MS);
    }
    return false;
  }

  /** Notes a daemon that is taken to run and does not. */
  async #runsAsItShould(host: HostPlan): Promise<boolean> {
    if ((await daemonPid(host)) !== null) return true;
    if (this.isUp(host)) this.fallen.push(`${host.name} at ${this.#options.nowMs().toFixed(0)} ms`);
    return false;
  }

  async #signal(host: HostPlan, signal: NodeJS.Signals): Promise<void> {
    const pid = await daemonPid(host);
    if (pid !== null) signalProcess(pid, signal);
  }

  #host(name: string): HostPlan {
    const host = this.#hosts.find((candidate) => candidate.name === name);
    if (!host) throw new Error(`no host ${name}`);
    return host;
  }

  #dropsAt({ name }: HostPlan): { readonly from: string; readonly share: number }[] {
    let drops = this.#drops.get(name);
    if (!drops) {
      drops = [];
      this.#drops.set(name, drops);
    }
    return drops;
  }

  async #writeDrops(hosts: Iterable<HostPlan>): Promise<void> {
    for (const host of hosts) {
      const drops = this.#dropsAt(host);
      await setDrops(
        host,
        drops.map(({ from, share }) => ({ from: this.#host(from), share })),
      );
    }
  }

  #setUp({ name }: HostPlan, isUp: boolean): void {
    if (isUp) this.#up.add(name);
    else this.#up.delete(name);
    this.#note();
  }

  #setCuts(links: readonly { readonly from: HostPlan; readonly to: HostPlan }[], by: 1 | -1): void {
    for (const { from, to } of links) {
      const link = `${from.name}>${to.name}`;
      this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + by);
    }
    this.#note();
  }

  #setVoters(voters: (readonly string[])[]): void {
    this.#voters = voters;
    this.#note();
  }

  #note(): void {
    const cut = [...this.#cuts].filter(([, reasons]) => reasons > 0).map(([link]) => link);
    const reach: Reach = { up: [...this.#up], cut, voters: this.#voters };
    this.changes.push({ atMs: this.#options.nowMs(), reach });
  }
}

async function limited<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = sleep(limitMs, undefined, { ref: false }).then((): never => {
    throw new Error(`no answer within ${limitMs} ms`);
  });
  return Promise.race([work, late]);
}
