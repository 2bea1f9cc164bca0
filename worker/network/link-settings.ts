/** Settings of the kernel for one link in a task's namespace, as a service asked for them. */
import { access } from 'node:fs/promises';
import { SkepError } from '../../common/base/errors.ts';
import { writeNetSysctls } from '../../native/ffi/net/sockets.ts';

/**
 * @param settings path below /proc/sys/net -> value
 * Rejects with `invalid-argument` for one that this kernel does not have, and with what the kernel says to a value.
 */
export async function writeLinkSettings(
  netnsPath: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  for (const path of Object.keys(settings)) await requireSetting(path);
  await writeNetSysctls(netnsPath, settings);
}

/** Links have the settings that `default` has, and this node's own namespace has all that its kernel has. */
async function requireSetting(path: string): Promise<void> {
  const [family, table, , name] = path.split('/');
  try {
    await access(`/proc/sys/net/${family}/${table}/default/${name}`);
  } catch (cause) {
    throw new SkepError(
      'invalid-argument',
      `set net.${family}.${table}.IFNAME.${name}: the kernel of this node has no such setting`,
      { cause },
    );
  }
}
