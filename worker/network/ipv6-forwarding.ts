/**
 * Lets IPv6 packets pass between links of the host, which makes the kernel deaf to routers: links that got their
 * routes from those go on doing so. What the settings were is kept in a file and put back.
 */
import { readFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import { OWN_NAMESPACE, writeNetSysctls } from '../../native/ffi/net/sockets.ts';
import { IPV6_FORWARDING } from './kernel-names.ts';

const SETTINGS = '/proc/sys/net';
const CONF = join(SETTINGS, 'ipv6/conf');
/** From routers even though this host forwards. */
const ACCEPT_ALWAYS = '2';

export class Ipv6Forwarding {
  readonly #file: string;

  /** @param file keeps what the settings were before us */
  constructor(file: string) {
    this.#file = file;
  }

  /** On from now on, also if somebody turned it off since. */
  async enable(): Promise<void> {
    if (readFileSync(join(SETTINGS, IPV6_FORWARDING), 'utf8').trim() === '1') return;
    const listening = await linksThatListen();
    const accepted = listening.map((it) => [it, '1'] as const);
    const before = { [IPV6_FORWARDING]: '0', ...Object.fromEntries(accepted) };
    // What is kept already is older, and so the truth.
    const kept = { ...before, ...(await this.#read()) };
    await new NodeSmallFiles().replace(this.#file, JSON.stringify(kept));
    const accept = listening.map((it) => [it, ACCEPT_ALWAYS] as const);
    const settings = { ...Object.fromEntries(accept), [IPV6_FORWARDING]: '1' };
    await writeNetSysctls(OWN_NAMESPACE, settings);
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
