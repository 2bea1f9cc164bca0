/** Which files below /proc/sys belong to a namespace, and so may be a container's. */

export type SysctlNamespace = 'network' | 'ipc' | 'uts';

const BY_NAMESPACE: readonly (readonly [RegExp, SysctlNamespace])[] = [
  [/^net\//, 'network'],
  [/^(kernel\/(msg|sem|shm)|fs\/mqueue\/)/, 'ipc'],
  [/^kernel\/domainname$/, 'uts'],
];

/** `net.ipv4.ip_forward` -> `net/ipv4/ip_forward`; with slashes as it is. */
export function sysctlPath(name: string): string {
  return name.includes('/') ? name : name.replaceAll('.', '/');
}

/** null: of no namespace, or not a name. */
export function sysctlNamespace(name: string): SysctlNamespace | null {
  const path = sysctlPath(name);
  if (path.split('/').some((part) => part === '..' || part === '')) return null;
  return BY_NAMESPACE.find(([pattern]) => pattern.test(path))?.[1] ?? null;
}

/** @param shared namespaces that are the node's */
export function isNamespacedSysctl(name: string, shared: readonly SysctlNamespace[]): boolean {
  const namespace = sysctlNamespace(name);
  return namespace !== null && !shared.includes(namespace);
}
