/**
 * What a node keeps of its membership: certificate, addresses, the managers it was told of. Knows where
 * the files lie, not what they are good for.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import type { Random } from '../common/base/random.ts';
import {
  type Identity,
  loadIdentity,
  removeIdentity,
  type StoredIdentity,
  saveIdentity,
} from '../common/pki/identity.ts';
import type { NodeAddresses } from './node-addresses.ts';

/** Files of a time when flags, and the data path, were not kept. */
const NO_FLAGS: NodeAddresses['flags'] = { listenAddress: '', advertiseAddress: '' };

export class MembershipFiles {
  readonly #dataDir: string;
  readonly #random: Random;
  #saving: Promise<void> = Promise.resolve();

  constructor(dataDir: string, random: Random) {
    this.#dataDir = dataDir;
    this.#random = random;
  }

  /** null when this node is in no cluster. Throws `data-loss` when the file is damaged. */
  loadIdentity(): Promise<StoredIdentity | null> {
    return loadIdentity(this.#certificates);
  }

  /**
   * Durable when it resolves. One after the other: a renewal and a change of the lock may meet.
   * @param sealKey null = the key is not sealed
   */
  saveIdentity(identity: Identity, sealKey: Uint8Array | null = null): Promise<void> {
    const sealing = sealKey && { key: sealKey, random: this.#random };
    const saved = this.#saving.then(() => saveIdentity(this.#certificates, identity, sealing));
    this.#saving = saved.catch(() => {}); // told to whoever asked
    return saved;
  }

  /** The identity last: with it the node is a member. */
  async save(identity: Identity, addresses: NodeAddresses): Promise<void> {
    await this.saveAddresses(addresses);
    await this.saveIdentity(identity);
  }

  async saveAddresses(addresses: NodeAddresses): Promise<void> {
    await writeFile(`${this.#addresses}.new`, JSON.stringify(addresses));
    await rename(`${this.#addresses}.new`, this.#addresses);
  }

  /** Throws `data-loss` when there is no readable file. */
  async loadAddresses(): Promise<NodeAddresses> {
    try {
      const kept = JSON.parse(await readFile(this.#addresses, 'utf8')) as NodeAddresses;
      return { ...kept, flags: kept.flags ?? NO_FLAGS, dataPath: kept.dataPath ?? '' };
    } catch (err) {
      throw new SkepError('data-loss', `read ${this.#addresses}`, { cause: err });
    }
  }

  /** The managers named by the last session; empty when there was none. */
  async loadManagers(): Promise<readonly string[]> {
    try {
      const kept = await readFile(join(this.#dataDir, 'agent', 'managers.json'), 'utf8');
      return JSON.parse(kept) as string[];
    } catch {
      return []; // the addresses by which the node joined are left
    }
  }

  /** The identity first: what is left of an interrupted removal is no membership. */
  async forget(): Promise<void> {
    await removeIdentity(this.#certificates);
    await rm(this.#addresses, { force: true });
    await rm(join(this.#dataDir, 'raft'), { recursive: true, force: true });
    await rm(join(this.#dataDir, 'raft.removed'), { recursive: true, force: true });
    await rm(join(this.#dataDir, 'agent'), { recursive: true, force: true });
  }

  get #certificates(): string {
    return join(this.#dataDir, 'certificates');
  }

  get #addresses(): string {
    return join(this.#dataDir, 'swarm.json');
  }
}
