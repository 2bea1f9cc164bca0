/** Real managers, each a process that can be killed and started again on its directory; one cluster. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Identity } from '../../common/pki/identity.ts';
import type { ManagerOrigin } from '../../manager/manager-options.ts';
import { BenchAuthority } from './bench-authority.ts';
import { temporaryDirectory } from './cleanup.ts';
import { HelperProcess } from './helper-process.ts';
import type { ManagerOperations } from './manager-process.ts';
import { until } from './wait.ts';

const MODULE = fileURLToPath(new URL('./manager-process.js', import.meta.url));

/** A manager over the lives of its process. */
export class Seat {
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

export interface ManagerGroup {
  readonly seats: readonly Seat[];
  /** for workers */
  readonly joinToken: string;
  stop(): Promise<void>;
}

/** So many managers, all with a vote. */
export async function startManagers(count: number): Promise<ManagerGroup> {
  const dir = temporaryDirectory('managers');
  const authority = await BenchAuthority.create();
  const first = new Seat(join(dir, 'm0'), authority.cluster.identity);
  await first.start({ kind: 'bootstrap', cluster: authority.cluster });
  const identities: Identity[] = [];
  while (identities.length < count - 1) identities.push(await authority.manager());
  await first.process.ask('expect', identities);
  const seats = [first];
  for (const identity of identities) {
    const seat = new Seat(join(dir, `m${seats.length}`), identity);
    seats.push(seat);
    await seat.start({ kind: 'join', managerAddresses: [first.address] });
    await until('a vote', () => first.process.ask('hears', seats.length));
  }
  return {
    seats,
    joinToken: authority.cluster.cluster.rootCa.joinTokens.worker,
    stop: async () => {
      for (const { process } of seats) await process.kill();
    },
  };
}

/**
 * The manager that leads, once all follow it. Whom it has heard of late is not enough: that may be the one that was
 * killed just before, and without that one there would be no majority to choose a leader.
 */
export async function settledLeader(seats: readonly Seat[]): Promise<Seat> {
  let leader: Seat | undefined;
  await until('a leader that all follow', async () => {
    const known = await Promise.all(seats.map((seat) => seat.process.ask('knowsLeader')));
    for (const seat of seats) if (await seat.process.ask('hears', seats.length)) leader = seat;
    return leader !== undefined && !known.includes(false);
  });
  return leader!;
}
