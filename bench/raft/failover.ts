/**
 * Fail-over of real managers: the leader is killed with SIGKILL; time until a write by way of another
 * manager succeeds, whichever of the two that live is asked.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Identity } from '../../common/pki/identity.ts';
import type { ManagerOrigin } from '../../manager/manager-options.ts';
import { BenchAuthority } from '../support/bench-authority.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure, say } from '../support/report.ts';
import { percentile } from '../support/statistics.ts';
import { sleepMs, until } from '../support/wait.ts';
import type { ManagerOperations } from './manager-process.ts';

const MANAGERS = 3;
const KILLS = 20;
const RETRY_MS = 10;
const GIVE_UP_MS = 20_000;
const MODULE = fileURLToPath(new URL('./manager-process.js', import.meta.url));

/** A manager over the lives of its process. */
class Seat {
  readonly #dataDir: string;
  readonly #identity: Identity;
  #port = 0;
  process = new HelperProcess<ManagerOperations>(MODULE);

  constructor(dataDir: string, identity: Identity) {
    this.#dataDir = dataDir;
    this.#identity = identity;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async start(origin: ManagerOrigin): Promise<void> {
    const [dataDir, identity] = [this.#dataDir, this.#identity];
    this.#port = await this.process.ask('start', { dataDir, identity, port: this.#port, origin });
  }

  async restart(): Promise<void> {
    this.process = new HelperProcess<ManagerOperations>(MODULE);
    await this.start({ kind: 'restart', forceNewCluster: false, managerAddresses: [] });
  }
}

export async function failover(): Promise<void> {
  const seats = await startManagers();
  const timesMs: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const leader = await settledLeader(seats);
    const others = seats.filter((seat) => seat !== leader);
    const asked = others[kill % others.length]!;
    await asked.process.ask('write', `before-${kill}`); // connections are there, as in service
    const killedMs = performance.now();
    await leader.process.kill();
    await writeUntilDone(asked, kill);
    timesMs.push(performance.now() - killedMs);
    say(`fail-over ${kill + 1}: ${timesMs.at(-1)!.toFixed(0)} ms`);
    await leader.restart();
  }
  figure('failover_p50_ms', percentile(timesMs, 0.5));
  figure('failover_p95_ms', percentile(timesMs, 0.95));
  figure('failover_max_ms', Math.max(...timesMs));
  for (const seat of seats) await seat.process.kill();
}

async function startManagers(): Promise<Seat[]> {
  const dir = temporaryDirectory('managers');
  const authority = await BenchAuthority.create();
  const first = new Seat(join(dir, 'm0'), authority.cluster.identity);
  await first.start({ kind: 'bootstrap', cluster: authority.cluster });
  const identities: Identity[] = [];
  while (identities.length < MANAGERS - 1) identities.push(await authority.manager());
  await first.process.ask('expect', identities);
  const seats = [first];
  for (const identity of identities) {
    const seat = new Seat(join(dir, `m${seats.length}`), identity);
    seats.push(seat);
    await seat.start({ kind: 'join', managerAddresses: [first.address] });
    await until('a vote', () => first.process.ask('hears', seats.length));
  }
  return seats;
}

/** The manager that leads, once it hears from all. */
async function settledLeader(seats: readonly Seat[]): Promise<Seat> {
  let leader: Seat | undefined;
  await until('a leader that hears all', async () => {
    for (const seat of seats) if (await seat.process.ask('hears', MANAGERS)) leader = seat;
    return leader !== undefined;
  });
  return leader!;
}

/** A write that fails is tried again, as a user would. */
async function writeUntilDone(seat: Seat, kill: number): Promise<void> {
  const deadlineMs = performance.now() + GIVE_UP_MS;
  for (let attempt = 0; ; attempt++) {
    try {
      await seat.process.ask('write', `after-${kill}-${attempt}`);
      return;
    } catch (err) {
      if (performance.now() > deadlineMs) throw err;
      await sleepMs(RETRY_MS);
    }
  }
}
