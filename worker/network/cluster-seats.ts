/**
 * Containers outside of services in networks of the cluster, while this node is part of one: which of them have places
 * there, by the managers' word, and their links. Knows nothing of this node's own networks.
 */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import { endsWithin } from '../../common/base/deadline.ts';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { Serial } from '../../common/base/serial.ts';
import { asId, type NetworkId, type TaskId } from '../../common/model/ids.ts';
import { attachmentKey, type ContainerAttachment } from '../../common/model/node.ts';
import type { AttachableNetwork } from '../../common/rpc/attachment-methods.ts';
import type { AttachmentRegistry } from './attachment-registry.ts';
import type { Question } from './dns-message.ts';
import type { NetworkManager } from './network-manager.ts';
import type { TaskNetworkRequest } from './task-request.ts';

/** A place in a network of the cluster. */
export interface ClusterSeat {
  readonly networkId: NetworkId;
  /** CIDR; '' = any is wanted */
  readonly address: string;
  readonly aliases: readonly string[];
  /** in the container, e.g. `eth1` */
  readonly link: string;
}

export interface SeatedInCluster {
  /** 64 hexadecimal characters */
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly netnsPath: string;
  readonly seats: readonly ClusterSeat[];
}

export interface ClusterSeatsOptions {
  readonly registry: AttachmentRegistry;
  readonly networks: Pick<
    NetworkManager,
    'adoptTask' | 'changeContainer' | 'detachTask' | 'answerNames' | 'lookupName'
  >;
  /** The managers gave the place to somebody else: the container is to leave the network. */
  readonly onLost: (containerId: string, networkId: NetworkId) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

const RETRY = { baseMs: 200, maxMs: 10_000 };

/**
 * INVARIANTS
 * - The managers' word is asked for one after another, each time for all that is wanted then.
 * - An address is given back after its link is gone.
 */
export class ClusterSeats {
  readonly #options: ClusterSeatsOptions;
  readonly #wanted = new Map<string, ContainerAttachment>();
  readonly #background: TaskSet;
  #sequence = 0;
  /** the managers do not know yet that something ended */
  #isOwed = false;
  /** their being told of it; null = all is told */
  #paying: Promise<void> | null = null;
  /** containers with links there, or that had some */
  readonly #plugged = new Set<string>();
  readonly #serial = new Serial();

  constructor(options: ClusterSeatsOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
  }

  /**
   * Takes up the containers that have places from before, all of them. Managers are told in the background, of none as well.
   *
   * @param isNew they have never heard of this node: then there is nothing to tell of none
   */
  async start(running: readonly SeatedInCluster[], isNew = false): Promise<void> {
    const { networks, log } = this.#options;
    for (const container of running) {
      for (const seat of container.seats) this.#want(container, seat);
      this.#plugged.add(container.id);
      try {
        await networks.adoptTask(requestOf(container));
      } catch (err) {
        log.error({ containerId: container.id, err }, 'networks of a container are not taken up');
      }
    }
    if (!isNew || running.length > 0) this.#owe();
  }

  /** Leaves everything in the kernel, and with the managers, as it is. */
  async stop(): Promise<void> {
    await this.#background.stop();
    await this.#serial.idle();
  }

  /** Resolves when the managers know what ended, at the latest after `limitMs`. */
  async told(limitMs: number): Promise<void> {
    const paying = this.#paying?.catch(() => {}); // it was given up with everything else here
    if (paying) await endsWithin(this.#options.clock, limitMs, paying);
  }

  /** As the registry's. */
  find(ref: string): Promise<AttachableNetwork> {
    return this.#options.registry.find(ref, this.#background.signal);
  }

  /** The address that its container has there from now on, CIDR. Rejects in the managers' words when there is none. */
  take(container: Omit<SeatedInCluster, 'seats'>, seat: ClusterSeat): Promise<string> {
    return this.#serial.run(async () => {
      const attachment = this.#want(container, seat);
      try {
        const given = (await this.#declare()).get(attachmentKey(attachment));
        if (given?.address) {
          this.#wanted.set(attachmentKey(attachment), { ...attachment, wanted: given.address });
          return given.address;
        }
        throw new SkepError('failed-precondition', given?.problem || 'the managers do not know it');
      } catch (err) {
        this.#wanted.delete(attachmentKey(attachment));
        this.#owe();
        const words = `attach container ${container.id} to network ${seat.networkId}`;
        throw new SkepError(codeOf(err), words, { cause: err });
      }
    });
  }

  /** Its links are these. Rejects with `deadline-exceeded` when this node hears nothing of a network. */
  async plug(container: SeatedInCluster): Promise<void> {
    const { networks } = this.#options;
    this.#plugged.add(container.id);
    await networks.changeContainer(requestOf(container), this.#background.signal);
  }

  /** Its place is free from now on. The link is gone. Managers that do not answer are told later. */
  release(containerId: string, networkId: NetworkId): void {
    if (this.#wanted.delete(attachmentKey({ containerId, networkId }))) this.#owe();
  }

  /** It has ended. Idempotent. */
  async detach(containerId: string): Promise<void> {
    if (this.#plugged.has(containerId)) {
      await this.#options.networks.detachTask(asId<TaskId>(containerId));
      this.#plugged.delete(containerId);
    }
    for (const [key, attachment] of this.#wanted) {
      if (attachment.containerId !== containerId) continue;
      this.#wanted.delete(key);
      this.#owe();
    }
  }

  renamed(containerId: string, containerName: string): void {
    for (const [key, attachment] of this.#wanted) {
      if (attachment.containerId !== containerId) continue;
      this.#wanted.set(key, { ...attachment, containerName });
      this.#owe();
    }
  }

  /** The cluster's names in these networks; null = it has no answer. @param bytesMax of the message */
  answer(
    networkIds: readonly NetworkId[],
    query: Buffer,
    question: Question,
    bytesMax: number,
  ): Buffer | null {
    return this.#options.networks.answerNames({ networkIds }, query, question, bytesMax);
  }

  /** Who is called so in these networks; null = nobody. */
  lookup(networkIds: readonly NetworkId[], name: string): string[] | null {
    return this.#options.networks.lookupName({ networkIds }, name);
  }

  #want(
    { id, name, hostname }: Omit<SeatedInCluster, 'seats'>,
    { networkId, address, aliases }: ClusterSeat,
  ): ContainerAttachment {
    const attachment = {
      ...{ networkId, containerId: id, containerName: name, hostname, aliases },
      ...{ wanted: address, address: '', problem: '' },
    };
    this.#wanted.set(attachmentKey(attachment), attachment);
    return attachment;
  }

  /** What they have now, by `attachmentKey`. */
  async #declare(): Promise<Map<string, ContainerAttachment>> {
    const { registry, clock } = this.#options;
    for (;;) {
      this.#sequence = Math.max(this.#sequence + 1, clock.wallMs());
      try {
        const attachments = [...this.#wanted.values()];
        const given = await registry.set(attachments, this.#sequence, this.#background.signal);
        return new Map(given.map((it) => [attachmentKey(it), it]));
      } catch (err) {
        // The clock was set back since an earlier life of the daemon, or a word of ours came twice.
        const latest = hasCode(err, 'conflict') ? Number(err.details['latest']) : Number.NaN;
        if (!(latest >= this.#sequence)) throw err;
        this.#sequence = latest;
      }
    }
  }

  #owe(): void {
    this.#isOwed = true;
    if (this.#paying) return;
    this.#background.run((signal) => {
      this.#paying = this.#pay(signal);
      return this.#paying;
    });
  }

  async #pay(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff(RETRY, random);
    try {
      while (this.#isOwed) {
        try {
          await this.#serial.run(() => this.#settle());
        } catch (err) {
          signal.throwIfAborted();
          log.info({ reason: describeError(err) }, 'managers do not hear of containers, once more');
          await clock.sleep(backoff.nextDelayMs(), signal);
        }
      }
    } finally {
      this.#paying = null;
    }
  }

  async #settle(): Promise<void> {
    if (!this.#isOwed) return;
    this.#isOwed = false;
    try {
      for (const [key, { problem, address }] of await this.#declare()) {
        const wanted = this.#wanted.get(key);
        if (!wanted || (problem === '' && isSame(wanted.wanted, address))) continue;
        const { containerId, networkId } = wanted;
        const { log, onLost } = this.#options;
        log.error({ containerId, networkId, problem, address }, 'place of a container is lost');
        this.#wanted.delete(key);
        this.#isOwed = true;
        onLost(containerId, networkId);
      }
    } catch (err) {
      this.#isOwed = true;
      throw err;
    }
  }
}

/** A place whose address is not known yet may be any. */
function isSame(wanted: string, address: string): boolean {
  return wanted === '' || wanted.split('/')[0] === address.split('/')[0];
}

function codeOf(err: unknown): SkepError['code'] {
  return err instanceof SkepError ? err.code : 'internal';
}

function requestOf({ id, name, hostname, netnsPath, seats }: SeatedInCluster): TaskNetworkRequest {
  return {
    taskId: asId<TaskId>(id),
    serviceId: null,
    containerName: name,
    hostname,
    netnsPath,
    attachments: seats.map(({ networkId, address, aliases }) => ({
      ...{ networkId, addresses: [address], aliases },
    })),
    links: seats.map(({ link }) => link),
    hostPorts: [],
    dns: { nameservers: [], search: [], options: [] },
  };
}
