/** What users ask for: specs of services, drawn at random, with short times so that much happens. */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { Network } from '../../../common/model/network.ts';
import type { Config, Secret } from '../../../common/model/secret.ts';
import {
  type GenericResource,
  isJob,
  NO_RESOURCES,
  type Platform,
  type PortConfig,
  type RestartPolicy,
  type ServiceMode,
  type ServiceSpec,
  type TaskSpec,
  type UpdateConfig,
} from '../../../common/model/service.ts';
import { aContainerSpec, aNetworkTarget, aServiceSpec, aTaskSpec } from '../../support/builders.ts';
import { BEHAVIOURS, type Behaviour } from './containers.ts';
import type { ClusterPlan } from './plan.ts';

const NANOS_PER_MS = 1e6;
/** Ports that users publish: few, so that they meet. */
const PORTS = { first: 8_000, count: 6 };

const CONSTRAINTS: readonly (readonly string[])[] = [
  ['node.role == worker'],
  ['node.labels.zone == a'],
  ['node.labels.zone != a'],
  ['node.hostname == host-2'],
  ['engine.labels.parity == odd'],
];

const PREFERENCES = ['node.labels.zone', 'engine.labels.parity'].map((spreadOver) => ({
  spreadOver,
}));
const PLATFORMS: readonly Platform[] = [
  { architecture: 'aarch64', os: 'linux' },
  { architecture: 'amd64', os: 'linux' }, // as images say it; nodes say x86_64
];
const GENERIC: readonly GenericResource[] = [
  { kind: 'gpu', value: 1 },
  { kind: 'gpu', value: 2 },
  { kind: 'licence', value: 2 },
];

/** What exists that a spec may name. */
export interface Surroundings {
  readonly networks: readonly Network[];
  readonly secrets: readonly Secret[];
  readonly configs: readonly Config[];
}

export class SpecMaker {
  readonly #plan: ClusterPlan;
  readonly #random: SeededRandom;

  constructor(plan: ClusterPlan, random: SeededRandom) {
    this.#plan = plan;
    this.#random = random;
  }

  create(name: string, write: number, surroundings: Surroundings): ServiceSpec {
    const mode = this.#mode();
    const task = this.#task(write, surroundings, this.#behaviour(mode));
    return aServiceSpec({
      ...{ name, mode, task },
      update: isJob(mode) ? null : this.#updateConfig(true),
      rollback: isJob(mode) ? null : this.#updateConfig(false),
      endpoint: this.#chance(3)
        ? { mode: 'vip', ports: [this.#port()] }
        : { mode: this.#chance(4) ? 'dnsrr' : 'vip', ports: [] },
    });
  }

  /** The same with something changed. */
  change(spec: ServiceSpec, write: number, surroundings: Surroundings): ServiceSpec {
    const renumbered = withWrite(spec, write);
    const { task, mode } = renumbered;
    switch (this.#random.below(6)) {
      case 0:
        return { ...renumbered, mode: this.#scaled(mode) };
      case 1:
        return {
          ...renumbered,
          task: { ...task, placement: { ...task.placement, constraints: this.#constraints() } },
        };
      case 2:
        return { ...renumbered, endpoint: { mode: 'vip', ports: [this.#port()] } };
      case 3:
        return {
          ...renumbered,
          update: isJob(mode) ? null : this.#updateConfig(true),
          task: this.#task(write, surroundings, this.#behaviour(mode)),
        };
      default:
        return { ...renumbered, task: this.#task(write, surroundings, this.#behaviour(mode)) };
    }
  }

  /** More or fewer of it, and nothing else. */
  scale(spec: ServiceSpec, write: number): ServiceSpec {
    // The mark of a write is part of the task, so that a pure scaling keeps the old one.
    void write;
    return { ...spec, mode: this.#scaled(spec.mode) };
  }

  #mode(): ServiceMode {
    const draw = this.#random.below(10);
    if (draw < 6) return { kind: 'replicated', replicas: this.#count() };
    if (draw < 8) return { kind: 'global' };
    if (draw < 9) {
      return {
        kind: 'replicated-job',
        maxConcurrent: 1 + this.#random.below(3),
        totalCompletions: this.#count(),
      };
    }
    return { kind: 'global-job' };
  }

  #scaled(mode: ServiceMode): ServiceMode {
    if (mode.kind === 'replicated')
      return { ...mode, replicas: this.#random.below(1 + this.#plan.replicasMax) };
    if (mode.kind === 'replicated-job') return { ...mode, totalCompletions: this.#count() };
    return mode;
  }

  #count(): number {
    return 1 + this.#random.below(this.#plan.replicasMax);
  }

  #behaviour(mode: ServiceMode): Behaviour {
    if (isJob(mode)) return 'job';
    const draw = this.#random.below(2 * BEHAVIOURS.length);
    const behaviour = BEHAVIOURS[draw] ?? 'steady';
    return behaviour === 'job' ? 'steady' : behaviour;
  }

  #task(
    write: number,
    { networks, secrets, configs }: Surroundings,
    behaviour: Behaviour,
  ): TaskSpec {
    const config = this.#chance(3) ? this.#pick(configs) : undefined;
    const secret = this.#chance(3) ? this.#pick(secrets) : undefined;
    const attached = this.#chance(2) ? this.#pick(networks) : undefined;
    return aTaskSpec({
      container: aContainerSpec({
        image: `sim/${behaviour}`,
        env: [`WRITE=${write}`],
        stopGracePeriodNanos: this.#ms(500, 2_000, 4_000),
        secrets: secret === undefined ? [] : [secretReference(secret)],
        configs: config === undefined ? [] : [configReference(config)],
      }),
      resources: {
        ...NO_RESOURCES,
        reservations: {
          ...NO_RESOURCES.reservations,
          nanoCpus: this.#chance(4) ? this.#pick([1e9, 1e9, 3e9])! : 0,
          generic: this.#chance(6) ? [this.#pick(GENERIC)!] : [],
        },
      },
      restart: this.#restart(behaviour),
      placement: {
        constraints: this.#constraints(),
        preferences: this.#chance(4) ? [this.#pick(PREFERENCES)!] : [],
        platforms: this.#chance(8) ? [this.#pick(PLATFORMS)!] : [],
        maxReplicas: this.#chance(8) ? 1 + this.#random.below(2) : 0,
      },
      networks: attached === undefined ? [] : [aNetworkTarget({ target: attached.id })],
    });
  }

  #constraints(): readonly string[] {
    return this.#chance(3) ? this.#pick(CONSTRAINTS)! : [];
  }

  /** Mostly one that keeps the service whole: another says that a task need not come back. */
  #restart(behaviour: Behaviour): RestartPolicy {
    const isLimited = behaviour !== 'job' && this.#chance(8);
    return {
      condition:
        behaviour === 'job' ? 'on-failure' : isLimited && this.#chance(2) ? 'on-failure' : 'any',
      delayNanos: this.#ms(0, 100, 1_000),
      maxAttempts: isLimited ? 1 + this.#random.below(3) : 0,
      windowNanos: this.#ms(0, 0, 3_000),
    };
  }

  #updateConfig(mayRollBack: boolean): UpdateConfig | null {
    if (this.#chance(8)) return null;
    return {
      parallelism: this.#random.below(4),
      delayNanos: this.#ms(0, 0, 300),
      failureAction: this.#pick(
        mayRollBack ? ['pause', 'continue', 'rollback'] : ['pause', 'continue'],
      )!,
      monitorNanos: this.#ms(100, 500, 2_000),
      maxFailureRatio: this.#pick([0, 0, 0.5])!,
      order: this.#chance(3) ? 'start-first' : 'stop-first',
    };
  }

  #port(): PortConfig {
    return {
      ...{ name: '', protocol: this.#chance(4) ? 'udp' : 'tcp', targetPort: 80 },
      publishedPort: this.#chance(4) ? 0 : PORTS.first + this.#random.below(PORTS.count),
      publishMode: this.#chance(4) ? 'host' : 'ingress',
      hostIp: '',
    };
  }

  #ms(...choices: readonly number[]): number {
    return this.#pick(choices)! * NANOS_PER_MS;
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#random.below(items.length)];
  }

  #chance(oneOf: number): boolean {
    return this.#random.below(oneOf) === 0;
  }
}

function withWrite(spec: ServiceSpec, write: number): ServiceSpec {
  const container = { ...spec.task.container, env: [`WRITE=${write}`] };
  return { ...spec, task: { ...spec.task, container } };
}

function secretReference({ id, spec }: Secret) {
  return {
    secretId: id,
    secretName: spec.name,
    file: { name: spec.name, uid: '0', gid: '0', mode: 0o444 },
  };
}

function configReference({ id, spec }: Config) {
  return {
    configId: id,
    configName: spec.name,
    file: { name: `/${spec.name}`, uid: '0', gid: '0', mode: 0o444 },
  };
}
