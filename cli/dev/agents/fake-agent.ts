/** One fake node: the agent of a real one, its own certificate and connection, and an executor that runs nothing. */
import type { Clock } from '../../../common/base/clock.ts';
import { type OnFailure, TaskSet } from '../../../common/base/lifecycle.ts';
import type { Logger } from '../../../common/base/log.ts';
import type { Random } from '../../../common/base/random.ts';
import type { NodeDescription } from '../../../common/model/node.ts';
import { CertificateRenewal } from '../../../common/pki/certificate-renewal.ts';
import { type Identity, IdentityHolder, tlsInfoOf } from '../../../common/pki/identity.ts';
import { TrustFollower } from '../../../common/pki/trust-follower.ts';
import { issuerAt, renewIdentity } from '../../../common/rpc/join-cluster.ts';
import { RpcClientPool } from '../../../common/rpc/pool.ts';
import { Agent } from '../../../worker/agent/agent.ts';
import { DispatcherClient } from '../../../worker/agent/dispatcher-client.ts';
import { StatusReporter } from '../../../worker/agent/status-reporter.ts';
import { TaskManager } from '../../../worker/agent/task-manager.ts';
import { InstantExecutor } from './instant-executor.ts';
import { MemoryRecords } from './memory-records.ts';

export interface FakeAgentOptions {
  readonly identity: Identity;
  readonly description: NodeDescription;
  readonly managerAddresses: readonly string[];
  readonly onHeartbeat: (elapsedMs: number) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

export class FakeAgent {
  readonly nodeId: string;
  readonly #agent: Agent;
  readonly #tasks: TaskManager;
  readonly #pool: RpcClientPool;
  readonly #background: TaskSet;
  #managers: readonly string[] = [];

  constructor(options: FakeAgentOptions) {
    const { clock, random, log, onFailure } = options;
    const identity = new IdentityHolder(options.identity);
    this.nodeId = options.identity.nodeId;
    this.#background = new TaskSet(onFailure);
    this.#pool = new RpcClientPool({ credentials: identity, clock });
    const renewal = new CertificateRenewal({
      identity,
      managers: async () => this.#managers,
      request: (address, current, signal) =>
        renewIdentity({
          issue: issuerAt(this.#pool.client(address)),
          identity: current,
          clock,
          signal,
        }),
      save: async () => {},
      ...{ clock, random, log },
    });
    const trust = new TrustFollower({
      ...{ identity, renewal, tasks: this.#background, clock, random, log },
    });
    const executor = new InstantExecutor(options.description);
    const reporter = new StatusReporter();
    const database = new MemoryRecords();
    this.#tasks = new TaskManager({ executor, database, reporter, clock, log, onFailure });
    const dialer = new DispatcherClient({
      pool: this.#pool,
      file: null,
      seedAddresses: options.managerAddresses,
      clock,
      random,
      log,
    });
    this.#agent = new Agent({
      dialer,
      tasks: this.#tasks,
      reporter,
      describe: () => ({ ...executor.describe(), tlsInfo: tlsInfoOf(identity.current) }),
      onSession: (word) => {
        this.#managers = word.managers.map(({ address }) => address);
        trust.follow(word);
      },
      onHeartbeat: options.onHeartbeat,
      clock,
      random,
      log,
      onFailure,
    });
    identity.onChange(() => this.#agent.describeAgain());
  }

  get connected(): boolean {
    return this.#agent.connected;
  }

  /** Sessions that the dispatcher greeted. */
  get sessions(): number {
    return this.#agent.sessions;
  }

  get differences(): number {
    return this.#agent.differences;
  }

  get refusal(): string {
    return this.#agent.refusal;
  }

  get runningTasks(): number {
    return this.#tasks.list().filter(({ status }) => status.state === 'running').length;
  }

  start(): Promise<void> {
    return this.#agent.start();
  }

  /** For good: its node is down after 2 s. */
  async stop(): Promise<void> {
    await this.#background.stop();
    await this.#agent.endSession();
    await this.#agent.stop();
    this.#pool.close();
  }
}
