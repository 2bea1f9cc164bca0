/**
 * Services whose tasks have namespaces of another service's task, as `network_mode`, `pid` and `ipc` of stack files
 * ask with `service:NAME`: where a spec says so, and what it cannot ask beside. Such a task goes to a node that has
 * one of the other, and ends with it.
 */
import type { CompanionWord, ContainerSpec, TaskSpec } from './service.ts';

const PREFIX = 'service:';

export type CompanionNamespace = 'network' | 'pid' | 'ipc';

export function isCompanionWord(text: string): text is CompanionWord {
  return text.startsWith(PREFIX);
}

export function companionWord(service: string): CompanionWord {
  return `${PREFIX}${service}`;
}

/** The name in such a word; null for any other text. */
export function companionName(text: string): string | null {
  return isCompanionWord(text) ? text.slice(PREFIX.length) : null;
}

type Words = Pick<TaskSpec, 'networks'> & {
  readonly container: Pick<ContainerSpec, 'isolation'>;
};

/** Names of services, by what of their tasks these have. */
export function companionsOf({
  container: { isolation },
  networks,
}: Words): ReadonlyMap<CompanionNamespace, string> {
  const companions = new Map<CompanionNamespace, string>();
  const named = networks.find(({ target }) => isCompanionWord(target));
  const texts = { network: named?.target, pid: isolation?.pid, ipc: isolation?.ipc };
  for (const kind of ['network', 'pid', 'ipc'] as const) {
    const name = companionName(texts[kind] ?? '');
    if (name !== null) companions.set(kind, name);
  }
  return companions;
}

/** Why a service cannot have these of others, in words; null = it can, or has none. */
export function companionProblem(
  service: string,
  task: Pick<TaskSpec, 'networks'> & {
    readonly container: Pick<ContainerSpec, 'isolation' | 'dns' | 'hosts'>;
  },
): string | null {
  const companions = companionsOf(task);
  if (companions.size === 0) return null;
  const { isolation, dns, hosts } = task.container;
  for (const name of companions.values()) {
    if (name === service) return `${companionWord(name)}: a service cannot share its own`;
  }
  if (isolation?.user === 'private') {
    return 'a task with a user namespace of its own cannot join namespaces of another';
  }
  if (!companions.has('network')) return null;
  const hasDns = [dns.nameservers, dns.search, dns.options].some((list) => list.length > 0);
  if (hasDns || hosts.length > 0) {
    const what = hasDns ? 'dns' : 'extra hosts';
    return `conflicting options: ${what} and a network that is another service's: they are given there`;
  }
  return null;
}
