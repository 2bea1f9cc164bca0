/**
 * Fields of requests that came with a version of the API. What a client of an older one sends there means nothing to its
 * version, and is dropped, as Docker does it.
 */
import { NEWEST_MINOR } from './api-versions.ts';

/** Minor versions of API 1, and the paths that came with each; `[]` = of each item of a list. */
export type NewerFields = Readonly<Record<number, readonly string[]>>;

const TASK = 'TaskTemplate';
const CONTAINER = `${TASK}.ContainerSpec`;
const READ_ONLY_TREES = ['ReadOnlyNonRecursive', 'ReadOnlyForceRecursive'];
const PRIVILEGES = `${CONTAINER}.Privileges`;

/** Source: `adjustForAPIVersion` of moby and the history of versions in its documents. */
export const NEWER_SERVICE_FIELDS: NewerFields = {
  41: [
    ...['Mode.ReplicatedJob', 'Mode.GlobalJob', `${TASK}.Resources.Limits.Pids`],
    ...['CapabilityAdd', 'CapabilityDrop', 'Ulimits'].map((name) => `${CONTAINER}.${name}`),
  ],
  44: [
    ...['Seccomp', 'AppArmor', 'NoNewPrivileges'].map((name) => `${PRIVILEGES}.${name}`),
    `${CONTAINER}.Healthcheck.StartInterval`,
    ...READ_ONLY_TREES.map((name) => `${CONTAINER}.Mounts[].BindOptions.${name}`),
  ],
  46: [`${CONTAINER}.OomScoreAdj`, `${CONTAINER}.Mounts[].TmpfsOptions.Options`],
};

export const NEWER_CONTAINER_FIELDS: NewerFields = {
  42: ['HostConfig.Mounts[].BindOptions.CreateMountpoint'],
  44: [
    'Healthcheck.StartInterval',
    ...READ_ONLY_TREES.map((name) => `HostConfig.Mounts[].BindOptions.${name}`),
  ],
  46: ['HostConfig.Mounts[].TmpfsOptions.Options'],
};

/** A body without what came after `apiMinor`. It is left as it is; names match in either case, as in Go's decoder. */
export function withoutNewer(body: unknown, apiMinor: number, fields: NewerFields): unknown {
  if (apiMinor >= NEWEST_MINOR) return body;
  return Object.entries(fields)
    .filter(([since]) => apiMinor < Number(since))
    .flatMap(([, paths]) => paths)
    .reduce((left, path) => without(left, path.replaceAll('[]', '.[]').split('.')), body);
}

function without(value: unknown, [name = '', ...rest]: readonly string[]): unknown {
  if (name === '[]') {
    return Array.isArray(value) ? value.map((item) => without(item, rest)) : value;
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  const isMeant = (key: string): boolean => key.toLowerCase() === name.toLowerCase();
  if (!Object.keys(value).some(isMeant)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => {
      if (!isMeant(key)) return [[key, item]];
      return rest.length === 0 ? [] : [[key, without(item, rest)]];
    }),
  );
}
