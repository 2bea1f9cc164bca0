/** What a container spec must obey. Pure; looks nothing up. */

import { SkepError } from '../../common/base/errors.ts';
import { HOSTNAME_BYTES_MAX } from '../../common/model/container-template.ts';
import { parseImageReference } from '../../common/model/image-reference.ts';
import type {
  ContainerSpec,
  FileTarget,
  HealthConfig,
  Mount,
  TaskSpec,
  Ulimit,
} from '../../common/model/service.ts';
import { tmpfsWords } from '../../common/model/tmpfs-options.ts';
import { parseVolumeOptions } from '../../common/model/volume-options.ts';
import { checkIsolation } from './isolation-rules.ts';
import { invalid, notDone } from './refusal.ts';

const NANOS_PER_MS = 1e6;
const HEALTH_FORMS = ['NONE', 'CMD', 'CMD-SHELL'];
const OOM_SCORE_MAX = 1000;
const PROPAGATIONS = ['', 'rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];

/**
 * Throws `invalid-argument`, or `unimplemented` for what is not done.
 * @param container with its templates expanded
 * @param networks of the task, as the spec names them
 */
export function checkContainerSpec(container: ContainerSpec, networks: TaskSpec['networks']): void {
  checkImage(container.image);
  checkHostname(container.hostname);
  checkMounts(container.mounts);
  checkFileTargets(
    'secret',
    container.secrets.map(({ secretId, secretName, file }) => {
      if (secretId === '' || secretName === '') throw invalid('malformed secret reference');
      return { name: secretName, file };
    }),
  );
  checkFileTargets('config', container.configs.map(configTarget));
  if (container.healthcheck) checkHealth(container.healthcheck);
  if ((container.stopGracePeriodNanos ?? 0) < 0) {
    throw invalid('ContainerSpec: stop grace period cannot be negative');
  }
  container.ulimits.forEach(checkUlimit);
  checkIsolation(container, networks);
  if (!(Math.abs(container.oomScoreAdj) <= OOM_SCORE_MAX)) {
    throw invalid(
      `ContainerSpec: OOM score adjustment ${container.oomScoreAdj} is not in -${OOM_SCORE_MAX}..${OOM_SCORE_MAX}`,
    );
  }
}

/** What no kernel takes, and what would be other words in files of names. */
function checkHostname(hostname: string): void {
  const bytes = Buffer.byteLength(hostname);
  if (bytes > HOSTNAME_BYTES_MAX) {
    throw invalid(
      `ContainerSpec: hostname of ${bytes} bytes exceeds the limit of ${HOSTNAME_BYTES_MAX}`,
    );
  }
  if (/[\s\p{Cc}]/u.test(hostname)) {
    throw invalid(`ContainerSpec: hostname ${JSON.stringify(hostname)} has blanks in it`);
  }
}

function checkImage(image: string): void {
  if (image === '') throw invalid('ContainerSpec: image reference must be provided');
  try {
    parseImageReference(image);
  } catch (cause) {
    throw new SkepError(
      'invalid-argument',
      `ContainerSpec: ${JSON.stringify(image)} is not a valid repository/tag`,
      { cause },
    );
  }
}

function checkMounts(mounts: readonly Mount[]): void {
  const targets = new Set<string>();
  for (const mount of mounts) {
    if (targets.has(mount.target)) {
      throw invalid(`ContainerSpec: duplicate mount point: ${mount.target}`);
    }
    targets.add(mount.target);
    checkMount(mount);
  }
}

/** Docker's rules. */
function checkReadOnlyTree({ readOnly, bind }: Mount, fail: (rule: string) => SkepError): void {
  const fields = ['ReadOnlyNonRecursive', 'ReadOnlyForceRecursive'];
  const [alone = false, forced = false] = [
    bind?.readOnlyNonRecursive,
    bind?.readOnlyForceRecursive,
  ];
  const said = fields.find((_, at) => [alone, forced][at]);
  if (said === undefined) return;
  const conflict = (words: string): SkepError => fail(`mount options conflict: ${words}`);
  if (!readOnly) throw conflict(`!ReadOnly && BindOptions.${said}`);
  if (alone && forced) throw conflict(fields.map((name) => `BindOptions.${name}`).join(' && '));
  if (forced && !['', 'private', 'rprivate'].includes(bind?.propagation ?? '')) {
    throw fail('BindOptions.ReadOnlyForceRecursive requires private propagation');
  }
  if (forced && bind?.nonRecursive) {
    throw conflict('BindOptions.NonRecursive && BindOptions.ReadOnlyForceRecursive');
  }
}

function checkMount(mount: Mount): void {
  const fail = (rule: string): SkepError =>
    invalid(`invalid mount config for type "${mount.type}": ${rule}`);
  if (mount.type === 'cluster') throw notDone('mount type "cluster": cluster volumes are');
  if (mount.volume) checkVolumeOptions(mount.target, mount.volume);
  if (mount.target === '') throw fail('field Target must not be empty');
  if (!mount.target.startsWith('/')) {
    throw fail(`invalid mount path: '${mount.target}' mount path must be absolute`);
  }
  if (mount.target === '/') throw fail("invalid specification: destination can't be '/'");
  switch (mount.type) {
    case 'bind':
      if (mount.source === '') throw fail('field Source must not be empty');
      if (!mount.source.startsWith('/')) {
        throw fail(`invalid mount path: '${mount.source}' mount path must be absolute`);
      }
      if (!PROPAGATIONS.includes(mount.bind?.propagation ?? '')) {
        throw fail(`invalid propagation mode: ${mount.bind?.propagation}`);
      }
      checkReadOnlyTree(mount, fail);
      return;
    case 'tmpfs':
      if (mount.source !== '') throw fail('field Source must not be specified');
      if ((mount.tmpfs?.sizeBytes ?? 0) < 0) throw fail('size must not be negative');
      tmpfsWords(mount.tmpfs?.options ?? []);
      return;
    case 'volume':
      if (mount.source.startsWith('/')) {
        throw fail(
          `invalid volume name: '${mount.source}' a volume's source is a name, not a path`,
        );
      }
      return;
  }
}

/** There is one driver: the task would wait for a node that has another. */
function checkVolumeOptions(
  target: string,
  { subpath, driver, driverOptions }: NonNullable<Mount['volume']>,
): void {
  if (subpath.startsWith('/') || subpath.split('/').includes('..')) {
    throw invalid(`mount ${target}: subpath must be a relative path within the volume: ${subpath}`);
  }
  if (driver !== '' && driver !== 'local') {
    throw notDone(`mount ${target}: volume driver "${driver}" is`);
  }
  // A template in it is filled in by the node, which looks at the whole then.
  if (!Object.values(driverOptions).some((value) => value.includes('{{'))) {
    parseVolumeOptions(driverOptions);
  }
}

function configTarget(config: ContainerSpec['configs'][number]) {
  const { configId, configName, file } = config;
  if (configId === '' || configName === '') throw invalid('malformed config reference');
  if (!file) {
    throw notDone(`config ${configName}: a target of runtime kind (credential specs) is`);
  }
  return { name: configName, file };
}

function checkFileTargets(
  kind: 'secret' | 'config',
  references: readonly { readonly name: string; readonly file: FileTarget }[],
): void {
  const names = new Map<string, string>();
  for (const { name, file } of references) {
    if (file.name === '') throw invalid(`malformed ${kind} reference, no target was provided`);
    const other = names.get(file.name);
    if (other !== undefined) {
      throw invalid(
        `${kind} references '${other}' and '${name}' have a conflicting target: '${file.name}'`,
      );
    }
    names.set(file.name, name);
  }
}

function checkHealth(health: HealthConfig): void {
  const durations = {
    Interval: health.intervalNanos,
    Timeout: health.timeoutNanos,
    StartPeriod: health.startPeriodNanos,
    StartInterval: health.startIntervalNanos,
  };
  for (const [field, nanos] of Object.entries(durations)) {
    if (nanos !== 0 && nanos < NANOS_PER_MS) {
      throw invalid(`ContainerSpec: ${field} in HealthConfig cannot be less than 1ms`);
    }
  }
  if (health.retries < 0) {
    throw invalid('ContainerSpec: Retries in HealthConfig cannot be negative');
  }
  const form = health.test[0];
  if (form !== undefined && !HEALTH_FORMS.includes(form)) {
    throw invalid(
      `ContainerSpec: health check test starts with ${JSON.stringify(form)}, not with ${HEALTH_FORMS.join(', ')}`,
    );
  }
}

function checkUlimit({ name, soft, hard }: Ulimit): void {
  if (name === '') throw invalid('ContainerSpec: ulimit without a name');
  if (hard !== -1 && (soft > hard || soft === -1)) {
    throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
  }
}
