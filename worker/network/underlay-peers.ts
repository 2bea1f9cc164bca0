/**
 * The other hosts that may take part in the encrypted underlay, and which of them its device knows. Decides
 * whose keys are used and what is written; knows no kernel.
 */
const KEY_BYTES = 32;

/** Writes to the device: `set`, address and key of each, after `gone`, keys. Setting or removing twice is harmless. */
export type WritePeers = (
  set: readonly (readonly [address: string, key: string])[],
  gone: readonly string[],
) => Promise<void>;

/** INVARIANT: what a write that failed may have left in the device is written again, or removed, by the next. */
export class UnderlayPeers {
  readonly #write: WritePeers;
  /** address of a host -> its public key, base64 */
  #wanted: ReadonlyMap<string, string>;
  /** key -> the address that the device has for it; null = it may have the key, and any address */
  readonly #present: Map<string, string | null>;

  /** @param found what the device has: address -> key */
  constructor(write: WritePeers, found: ReadonlyMap<string, string> = new Map()) {
    this.#write = write;
    this.#wanted = found;
    this.#present = new Map([...found].map(([address, key]) => [key, address]));
  }

  /** Those that the device ought to have: address -> key. */
  get wanted(): ReadonlyMap<string, string> {
    return this.#wanted;
  }

  /**
   * Brings the device in line. They are wanted also when the write fails.
   * @param peers address -> key as it was told; see `usablePeers`
   * @param ownKey of this host
   */
  async want(peers: ReadonlyMap<string, string>, ownKey: string): Promise<void> {
    this.#wanted = usablePeers(peers, this.#wanted, ownKey);
    await this.#bring();
  }

  /** The device has none, or is a new one. */
  async rewrite(): Promise<void> {
    this.#present.clear();
    await this.#bring();
  }

  async #bring(): Promise<void> {
    const keys = new Set(this.#wanted.values());
    const gone = [...this.#present.keys()].filter((key) => !keys.has(key));
    const fresh = [...this.#wanted].filter(([address, key]) => this.#present.get(key) !== address);
    if (gone.length + fresh.length === 0) return;
    for (const key of [...gone, ...fresh.map(([, key]) => key)]) this.#present.set(key, null);
    await this.#write(fresh, gone);
    for (const key of gone) this.#present.delete(key);
    for (const [address, key] of fresh) this.#present.set(key, address);
  }
}

/**
 * Without what is no key, this host's own, and all but one of the hosts that tell the same: a device has one
 * peer for a key, and packets for the others would be sent to it. Who has a key keeps it, else the first named.
 */
export function usablePeers(
  told: ReadonlyMap<string, string>,
  current: ReadonlyMap<string, string>,
  ownKey: string,
): Map<string, string> {
  const holders = new Map<string, string>();
  for (const [address, key] of told) {
    if (!isKey(key) || key === ownKey) continue;
    if (!holders.has(key) || current.get(address) === key) holders.set(key, address);
  }
  return new Map([...told].filter(([address, key]) => holders.get(key) === address));
}

/** 32 bytes in the one way that base64 writes them: another text of the same bytes would be another key to us. */
function isKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === KEY_BYTES && bytes.toString('base64') === text;
}
