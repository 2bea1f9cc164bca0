/**
 * Lets IPv4 packets pass between links of the host while the cluster's networks or those of this node need it.
 * What the setting was is kept in a file. The only writer of it, for its users must not undo each other's work.
 */
import { readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { Serial } from '../../common/base/serial.ts';
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import { OWN_NAMESPACE, writeNetSysctls } from '../../native/ffi/net/sockets.ts';
import { IPV4_FORWARDING } from './kernel-names.ts';

/** The cluster's networks, those of this node alone, and those of the cluster that this node makes by itself. */
export type ForwardingUser = 'cluster' | 'local' | 'made';

/** The setting itself, `0` or `1`. */
export interface ForwardingSetting {
  read(): string;
  write(value: string): Promise<void>;
}

const KERNEL_SETTING: ForwardingSetting = {
  read: () => readFileSync(`/proc/sys/net/${IPV4_FORWARDING}`, 'utf8').trim(),
  write: (value) => writeNetSysctls(OWN_NAMESPACE, { [IPV4_FORWARDING]: value }),
};

export class Ipv4Forwarding {
  readonly #file: string;
  readonly #setting: ForwardingSetting;
  readonly #users = new Set<ForwardingUser>();
  /** the cluster has left: the last user puts back what was */
  #isLeft = false;
  readonly #serial = new Serial();

  /** @param file keeps what the setting was before us */
  constructor(file: string, setting: ForwardingSetting = KERNEL_SETTING) {
    this.#file = file;
    this.#setting = setting;
  }

  get isOn(): boolean {
    return this.#setting.read() === '1';
  }

  /** On from now on, also if somebody turned it off since. */
  use(user: ForwardingUser): Promise<void> {
    return this.#serial.run(async () => {
      this.#users.add(user);
      if (user === 'cluster') this.#isLeft = false;
      const before = this.#setting.read();
      if (before === '1') return;
      // What is kept already is older, and so the truth.
      if ((await this.#kept()) === null) await new NodeSmallFiles().replace(this.#file, before);
      await this.#setting.write('1');
    });
  }

  /** The setting stays, for the next one; after `leave` the last user puts it back. */
  letGo(user: ForwardingUser): Promise<void> {
    return this.#serial.run(async () => {
      this.#users.delete(user);
      await this.#restore();
    });
  }

  /** The cluster is left: what was comes back, as soon as nobody else uses it. */
  leave(): Promise<void> {
    return this.#serial.run(async () => {
      this.#users.delete('cluster');
      this.#isLeft = true;
      await this.#restore();
    });
  }

  async #restore(): Promise<void> {
    if (!this.#isLeft || this.#users.size > 0) return;
    const before = await this.#kept();
    if (before !== null) await this.#setting.write(before);
    await rm(this.#file, { force: true });
  }

  /** null = nothing, or nothing that can be read */
  async #kept(): Promise<string | null> {
    const text = await readFile(this.#file, 'utf8').catch(() => '');
    return text.trim() === '0' ? '0' : null;
  }
}
