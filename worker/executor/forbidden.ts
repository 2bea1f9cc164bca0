/**
 * What an operator does not let the containers of a node have, whoever asks for it: tasks are rejected, containers
 * outside of services refused. Pure.
 */
import { SkepError } from '../../common/base/errors.ts';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type Isolation,
} from '../../common/model/service.ts';

/**
 * Of each word whether a container asks for it; `profiles` are others of seccomp and AppArmor than the default ones. A privileged
 * container has every device and capability and no profile, without asking for them.
 */
const RULES = {
  privileged: ({ isolation }) => isolation.privileged,
  'host-network': ({ isOnHostNetwork }) => isOnHostNetwork,
  'host-pid': ({ isolation }) => isolation.pid === 'host',
  'host-ipc': ({ isolation }) => isolation.ipc === 'host',
  'host-uts': ({ isolation }) => isolation.uts === 'host',
  'host-users': ({ isolation }) => isolation.user === 'host',
  devices: ({ isolation: { privileged, devices, deviceRules, deviceRequests } }) =>
    privileged || devices.length + deviceRules.length + deviceRequests.length > 0,
  capabilities: ({ container, isolation }) =>
    isolation.privileged || container.capabilityAdd.length > 0,
  profiles: ({ container: { privileges }, isolation }) =>
    isolation.privileged ||
    (privileges !== null &&
      (privileges.seccomp.mode !== 'default' || privileges.apparmor.mode !== 'default')),
} as const satisfies Readonly<Record<string, (asked: Asked) => boolean>>;

export type Forbidden = keyof typeof RULES;
export const FORBIDDABLE = Object.keys(RULES) as readonly Forbidden[];

interface Asked {
  readonly container: ContainerSpec;
  readonly isolation: Isolation;
  readonly isOnHostNetwork: boolean;
}

export const NOTHING_FORBIDDEN: ReadonlySet<Forbidden> = new Set();

/** Throws `permission-denied` that names the word. */
export function checkForbidden(
  forbidden: ReadonlySet<Forbidden>,
  container: ContainerSpec,
  isOnHostNetwork: boolean,
): void {
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  for (const word of forbidden) {
    if (RULES[word]({ container, isolation, isOnHostNetwork })) throw denied(word);
  }
}

/** What a privileged command has: its devices are those of its container. */
const WORDS_OF_EXEC = ['privileged', 'capabilities', 'profiles'] as const satisfies Forbidden[];

/** Of a command in a container that runs. Throws like `checkForbidden`. */
export function checkForbiddenExec(
  forbidden: ReadonlySet<Forbidden>,
  { privileged }: { readonly privileged: boolean },
): void {
  if (!privileged) return;
  const word = WORDS_OF_EXEC.find((one) => forbidden.has(one));
  if (word !== undefined) throw denied(word);
}

const denied = (word: Forbidden): SkepError =>
  new SkepError('permission-denied', `this node does not allow ${word} (skepd --forbid)`);
