/**
 * Lets IPv6 packets pass between links of the host, which makes the kernel deaf to routers: links that got their
 * routes from those go on doing so. What the settings were is kept in a file and put back.
 */
import { readFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import { OWN_NAMESPACE, writeNetSysctls } from '../../native/ffi/net/sockets.ts';

const CONF = '/proc/sys/net/ipv6/conf';
const FORWARDING = 'ipv6/conf/all/forwarding';
/** From routers even though this host forwards. */
const ACCEPT_ALWAYS = '2';

export class Ipv6Forwarding {
  readonly #file: string;
  #enabled = false;

  /** @param file keeps what the settings were before us */
  constructor(file: string) {
    this.#file = file;
  }

  async enable(): Promise<void> {
    if (this.#enabled) return;
    if (readFileSync(join(CONF, 'all/forwarding'), 'utf8').trim() !== '1') {
      const listening = await linksThatListen();
      const before = { [FORWARDING]: '0', ...Object.fromEntries(listening.map((it) => [it, '1'])) };
      // What a life that was killed kept is older, and so the truth.
      const kept = { ...before, ...(await this.#read()) };
      await new NodeSmallFiles().replace(this.#file, JSON.stringify(kept));
      const accept = listening.map((it) => [it, ACCEPT_ALWAYS] as const);
      await writeNetSysctls(OWN_NAMESPACE, { ...Object.fromEntries(accept), [FORWARDING]: '1' });
    }
    this.#enabled = true;
  }

  async restore(): Promise<void> {
    const before = await this.#read();
    const kept = Object.entries(before);
    const links = new Set(kept.length > 0 ? await readdir(CONF) : []);
    // A link that is gone has no settings.
    const present = kept.filter(([name]) => links.has(name.split('/')[2] ?? ''));
    if (present.length > 0) await writeNetSysctls(OWN_NAMESPACE, Object.fromEntries(present));
    await rm(this.#file, { force: true });
  }

  /** What was kept; nothing when there is no file, or a damaged one. */
  async #read(): Promise<Record<string, string>> {
    try {
      const found: unknown = JSON.parse(await readFile(this.#file, 'utf8'));
      return Object.fromEntries(
        Object.entries(found ?? {}).filter(([, value]) => value === '0' || value === '1'),
      );
    } catch {
      return {};
    }
  }
}

/** Settings `accept_ra` of links that hear routers only while nothing is forwarded. */
async function linksThatListen(): Promise<string[]> {
  const found: string[] = [];
  for (const link of await readdir(CONF)) {
    if (link === 'all') continue;
    const value = await readFile(join(CONF, link, 'accept_ra'), 'utf8').catch(() => '');
    if (value.trim() === '1') found.push(`ipv6/conf/${link}/accept_ra`);
  }
  return found;
}
