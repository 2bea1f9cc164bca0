/**
 * The overlay networks present on this host: made when first needed, removed with the last user.
 * Knows pins and tables of seats, nothing of who uses a network.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import { type NetlinkSocket, removeNetns } from '../../native/ffi/net/sockets.ts';
import type { NetworkTable } from './cluster-tables.ts';
import type { EncryptedUnderlay } from './encrypted-underlay.ts';
import { OverlayNetwork, type OverlayParts } from './overlay-network.ts';

export interface OverlaySetOptions {
  /** directory of the pins; created */
  readonly dir: string;
  readonly host: NetlinkSocket;
  readonly clock: Clock;
  readonly vtepAddress: string;
  /** by which encrypted networks go */
  readonly encrypted: EncryptedUnderlay;
}

export class OverlaySet {
  readonly #options: OverlaySetOptions;
  readonly #overlays = new Map<NetworkId, OverlayNetwork>();
  /** ports found at adoption whose task has not been seen since */
  readonly #strangers = new Map<NetworkId, Set<string>>();

  constructor(options: OverlaySetOptions) {
    this.#options = options;
  }

  get all(): ReadonlyMap<NetworkId, OverlayNetwork> {
    return this.#overlays;
  }

  /** Takes up what an earlier life of the daemon left. When it rejects, `close` is due. */
  async adopt(): Promise<void> {
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#options.dir)) {
      const id = name as NetworkId;
      const overlay = await OverlayNetwork.adopt(this.#parts(id));
      if (!overlay) continue;
      this.#overlays.set(id, overlay);
      this.#strangers.set(id, new Set(await overlay.ports()));
    }
  }

  /** The network's namespace here, made unless it is there. @param mtu bytes inside */
  async ensure(table: NetworkTable, mtu: number): Promise<OverlayNetwork> {
    const { network } = table;
    if (!network) throw new SkepError('internal', 'create overlay: the network is not known');
    const existing = this.#overlays.get(network.id);
    if (existing) return existing;
    const overlay = await OverlayNetwork.create(this.#parts(network.id), network, mtu).catch(
      (err: unknown) => {
        throw new SkepError('internal', `create overlay network ${network.name}`, { cause: err });
      },
    );
    this.#overlays.set(network.id, overlay);
    await this.syncAllSeats(overlay, table);
    return overlay;
  }

  /** Brings every seat in line, those that the kernel still has from before too. */
  async syncAllSeats(overlay: OverlayNetwork, table: NetworkTable): Promise<void> {
    const changes = new Map<string, string | null>();
    for (const address of overlay.remoteSeats) changes.set(address, null);
    for (const [address] of table.seats()) changes.set(address, this.#hostOf(table, address));
    await overlay.setSeats(changes);
  }

  async syncSeats(id: NetworkId, table: NetworkTable | undefined, addresses: Iterable<string>) {
    const overlay = this.#overlays.get(id);
    if (!overlay) return;
    const changes = new Map<string, string | null>();
    for (const address of addresses) {
      changes.set(address, table ? this.#hostOf(table, address) : null);
    }
    await overlay.setSeats(changes);
  }

  /** The task behind a port is known now. */
  recognise(id: NetworkId, port: string): void {
    this.#strangers.get(id)?.delete(port);
  }

  /** Asks the kernel which of the unrecognised ports are still there; true when none is. */
  async strangersGone(id: NetworkId): Promise<boolean> {
    const strangers = this.#strangers.get(id);
    const overlay = this.#overlays.get(id);
    if (!strangers || !overlay || strangers.size === 0) return true;
    const present = new Set(await overlay.ports());
    for (const port of [...strangers]) if (!present.has(port)) strangers.delete(port);
    return strangers.size === 0;
  }

  async remove(id: NetworkId): Promise<void> {
    const overlay = this.#overlays.get(id);
    this.#overlays.delete(id);
    this.#strangers.delete(id);
    await overlay?.destroy();
  }

  async removeAll(): Promise<void> {
    for (const id of [...this.#overlays.keys()]) await this.remove(id);
    for (const name of await readdir(this.#options.dir).catch(() => [])) {
      await removeNetns(join(this.#options.dir, name));
    }
  }

  async close(): Promise<void> {
    for (const overlay of this.#overlays.values()) await overlay.close();
    this.#overlays.clear();
  }

  #parts(id: NetworkId): OverlayParts {
    const { dir, host, clock, vtepAddress, encrypted } = this.#options;
    return { id, pin: join(dir, id), host, clock, vtepAddress, encrypted };
  }

  /** null for seats on this host: the bridge knows them. */
  #hostOf(table: NetworkTable, address: string): string | null {
    const host = table.hostOf(address);
    return host === this.#options.vtepAddress ? null : host;
  }
}
