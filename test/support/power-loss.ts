/** A host of a development cluster that loses its power: all but its disk is gone. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { eventually, isAlive, type TestCluster } from './cluster.ts';

/** As the end of the power: processes, namespaces, links, rules and mounts are gone, the disk is not. */
export async function losePower(cluster: TestCluster, host: string): Promise<void> {
  await cluster.dev('kill', host);
  const dir = `/var/lib/skep-dev/${cluster.name}/${host}`;
  const left = (): number[] => [...taskProcesses(cluster, host), ...shims(`${dir}/`)];
  for (const pid of left()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {} // it went with another
  }
  await eventually('no process is left', () => expect(left().filter(isAlive)).toEqual([]), {
    withinMs: 20_000,
  });
  const script = [
    `grep -o '${dir}/[^ ]*' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l`,
    'nft flush ruleset',
    "for link in $(ip -br link | grep -oE '^(skep|skg|skl|skm|skb)[^@ ]*'); do ip link del $link; done",
    'true',
  ].join('; ');
  await cluster.dev('run', host, '--', 'sh', '-c', script);
}

/** Processes in the groups of the host's tasks, in any hierarchy. */
function taskProcesses(cluster: TestCluster, host: string): number[] {
  const files = cluster.taskGroups(host).map((dir) => `${dir}/cgroup.procs`);
  const pids = files
    .filter(existsSync)
    .flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number));
  return [...new Set(pids)];
}

/** Shims of the host, by the directories that they were given. */
function shims(dir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const [name, place = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return name === 'skep-shim' && place.startsWith(dir);
      } catch {
        return false; // it has ended
      }
    });
}
