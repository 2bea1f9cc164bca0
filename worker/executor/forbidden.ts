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

/** Of each word whether a container asks for it; `profiles` are others of seccomp and AppArmor than the default ones. */
const RULES = {
  privileged: ({ isolation }) => isolation.privileged,
  'host-network': ({ isOnHostNetwork }) => isOnHostNetwork,
  'host-pid': ({ isolation }) => isolation.pid === 'host',
  'host-ipc': ({ isolation }) => isolation.ipc === 'host',
  'host-uts': ({ isolation }) => isolation.uts === 'host',
  'host-users': ({ isolation }) => isolation.user === 'host',
  devices: ({ isolation: { devices, deviceRules, deviceRequests } }) =>
    devices.length + deviceRules.length + deviceRequests.length > 0,
  capabilities: ({ container }) => container.capabilityAdd.length > 0,
  profiles: ({ container: { privileges } }) =>
    privileges !== null &&
    (privileges.seccomp.mode !== 'default' || privileges.apparmor.mode !== 'default'),
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

/** Of a command in a container that runs. Throws like `checkForbidden`. */
export function checkForbiddenExec(
  forbidden: ReadonlySet<Forbidden>,
  { privileged }: { readonly privileged: boolean },
): void {
  if (privileged && forbidden.has('privileged')) throw denied('privileged');
}

const denied = (word: Forbidden): SkepError =>
  new SkepError('permission-denied', `this node does not allow ${word} (skepd --forbid)`);
