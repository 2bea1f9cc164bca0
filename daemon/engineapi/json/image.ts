/** Images as the Engine API shows them. */
import type { ImageHealthcheck } from '../../../worker/images/image-config.ts';
import type { ImageRecord } from '../../../worker/images/image-store.ts';
import { IMAGE_CONTAINER_FIELDS_UNTIL, NO_NAME_UNTIL, VIRTUAL_SIZE_UNTIL } from './api-versions.ts';
import { isoTime } from './common.ts';
import { some } from './some.ts';

const NANOS_PER_MS = 1e6;
/** Until IMAGE_CONTAINER_FIELDS_UNTIL, with what they say where nothing is said. */
const CONTAINER_FIELDS = {
  ...{ Hostname: '', Domainname: '', Image: '' },
  ...{ AttachStdin: false, AttachStdout: false, AttachStderr: false },
  ...{ Tty: false, OpenStdin: false, StdinOnce: false },
};

const NO_NAME = { RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] };

/** One row of `docker images`. */
export function imageRowToJson(image: ImageRecord, apiMinor: number): object {
  const isNameless = image.repoTags.length + image.repoDigests.length === 0;
  return {
    Id: image.id,
    ParentId: '',
    ...(isNameless && apiMinor <= NO_NAME_UNTIL ? NO_NAME : namesOf(image)),
    Created: Math.floor(image.createdAtMs / 1000),
    Size: image.sizeBytes,
    ...virtualSize(image, apiMinor),
    SharedSize: -1,
    Containers: -1,
    Labels: image.config.labels,
  };
}

function namesOf({ repoTags, repoDigests }: ImageRecord): object {
  return { RepoTags: repoTags, RepoDigests: repoDigests };
}

function virtualSize({ sizeBytes }: ImageRecord, apiMinor: number): { VirtualSize?: number } {
  return apiMinor <= VIRTUAL_SIZE_UNTIL ? { VirtualSize: sizeBytes } : {};
}

/** @param layerDirs unpacked layers, topmost first */
export function imageToJson(
  image: ImageRecord,
  layerDirs: readonly string[],
  apiMinor: number,
): object {
  const config = {
    ...(apiMinor <= IMAGE_CONTAINER_FIELDS_UNTIL && CONTAINER_FIELDS),
    ...imageConfigToJson(image),
  };
  const [upperDir = '', ...lowerDirs] = layerDirs;
  return {
    Id: image.id,
    ...namesOf(image),
    Parent: '',
    Comment: image.history.at(-1)?.comment ?? '',
    Created: isoTime(image.createdAtMs),
    Author: image.author,
    // API 1.45 did away with it; docker-compose 1.29, which speaks the newest API, reads it when it recreates a container.
    ContainerConfig: config,
    Config: config,
    DockerVersion: '',
    Architecture: image.architecture,
    ...some('Variant', image.variant),
    Os: image.os,
    Size: image.sizeBytes,
    ...virtualSize(image, apiMinor),
    // Nobody mounts an image by itself: what would be merged is in the upper and lower directories.
    GraphDriver: {
      Name: 'overlay2',
      Data: { LowerDir: lowerDirs.join(':'), UpperDir: upperDir, MergedDir: '', WorkDir: '' },
    },
    RootFS: { Type: 'layers', Layers: image.layers },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

function imageConfigToJson({ config }: ImageRecord): object {
  return {
    User: config.user,
    ...some('ExposedPorts', setOf(config.exposedPorts)),
    Env: config.env,
    Cmd: config.cmd,
    Entrypoint: config.entrypoint,
    ...some('Volumes', setOf(config.volumes)),
    WorkingDir: config.workingDir,
    OnBuild: config.onBuild.length > 0 ? config.onBuild : null,
    Labels: config.labels,
    ...some('Shell', config.shell),
    ...some('ArgsEscaped', config.argsEscaped),
    ...some('StopSignal', config.stopSignal),
    ...(config.healthcheck && { Healthcheck: imageHealthToJson(config.healthcheck) }),
  };
}

export function imageHealthToJson(health: ImageHealthcheck): object {
  return {
    Test: health.test,
    ...some('Interval', (health.intervalMs ?? 0) * NANOS_PER_MS),
    ...some('Timeout', (health.timeoutMs ?? 0) * NANOS_PER_MS),
    ...some('StartPeriod', (health.startPeriodMs ?? 0) * NANOS_PER_MS),
    ...some('StartInterval', (health.startIntervalMs ?? 0) * NANOS_PER_MS),
    ...some('Retries', health.retries),
  };
}

/** Newest step first. @param layerSizes bytes of the layers, bottom first */
export function historyToJson(image: ImageRecord, layerSizes: readonly number[]): object[] {
  let layer = 0;
  const steps = image.history.map((entry, index, all) => ({
    Id: index === all.length - 1 ? image.id : '<missing>',
    Created: Math.floor(entry.createdAtMs / 1000),
    CreatedBy: entry.createdBy,
    Tags: index === all.length - 1 ? image.repoTags : null,
    Size: entry.emptyLayer ? 0 : (layerSizes[layer++] ?? 0),
    Comment: entry.comment,
  }));
  return steps.reverse();
}

/** As JSON has sets: an object of empty ones. */
export function setOf(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}
