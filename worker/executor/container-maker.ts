/**
 * What a container of this node is made from, whoever asked for it: rootfs, name files, mounts, user,
 * all put into one bundle. Knows neither tasks nor people.
 */
import { release } from 'node:os';
import { settled } from '../../common/base/settled.ts';
import { containerIdOf, isContainerId } from '../../common/model/container-id.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import { logDriverInForce } from '../../common/model/log-driver.ts';
import {
  DEFAULT_ISOLATION,
  type GenericResource,
  type LogDriver,
  type TaskSpec,
} from '../../common/model/service.ts';
import type { ImageRecord } from '../images/image-store.ts';
import type { Logging } from '../runtime/logging/log-senders.ts';
import { logSettingsOf } from '../runtime/logging/log-settings.ts';
import type { ContainerBundle } from '../runtime/native-runtime.ts';
import type { OciMount, OciProcess } from '../runtime/oci.ts';
import { isKernelFrom } from '../runtime/seccomp-choice.ts';
import type { ResolvedUser } from '../runtime/user.ts';
import { checkForbidden } from './forbidden.ts';
import type { HostFacts } from './host-facts.ts';
import { planMounts } from './mounts.ts';
import type { NodeSettings } from './node-settings.ts';
import { type NetworkNamespace, ociSpecOf } from './oci-builder.ts';
import { runtimeOf } from './oci-runtimes.ts';
import type { Images, Volumes } from './ports.ts';
import { SIGTERM, signalNumber } from './signals.ts';
import type { NameFiles, TaskFiles } from './task-files.ts';
import { idMappingsOf, ownMounts } from './user-namespace.ts';

/** `mount_setattr` came with it */
const READ_ONLY_TREES_SINCE = '5.12';

export interface MakerParts {
  readonly images: Pick<Images, 'acquireRootfs'>;
  readonly volumes: Pick<Volumes, 'acquire' | 'createAnonymous'>;
  readonly files: Pick<TaskFiles, 'writeNames'>;
  /** `user[:group]`, by name or number, after the image's own files */
  readonly resolveUser: (user: string, lowerDirs: readonly string[]) => Promise<ResolvedUser>;
  /** what a spec asks to know of this machine */
  readonly hostFacts: (
    spec: ContainerWords,
    genericResources?: readonly GenericResource[],
  ) => Promise<HostFacts>;
  readonly settings: NodeSettings;
}

/** The user's words, without templates. */
export type ContainerWords = Pick<TaskSpec, 'container' | 'resources'>;

export interface ContainerOrder {
  /** who holds rootfs and volumes, and names the container in the runtime */
  readonly id: string;
  readonly spec: ContainerWords;
  readonly genericResources: readonly GenericResource[];
  readonly image: ImageRecord;
  readonly hostname: string;
  /** null = those of the image, if it has any */
  readonly names: NameFiles | null;
  /** null = as the node logs; without a name too */
  readonly logDriver: LogDriver | null;
  /** how people name it */
  readonly name: string;
  /** secrets and configs */
  readonly payloads: readonly OciMount[];
  readonly network: NetworkNamespace;
  /** a namespace of another container that it is to have, in words; null = none */
  readonly joined: string | null;
}

/** Holds the image and the volumes in the name of `order.id` from then on, also after a failure. */
export async function makeBundle(
  order: ContainerOrder,
  parts: MakerParts,
): Promise<ContainerBundle> {
  const { id, image, hostname } = order;
  const { container } = order.spec;
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  const { joined, network } = order;
  checkForbidden(parts.settings.forbidden, container, network === 'host');
  const runtime = runtimeOf(isolation.runtime, parts.settings.runtimes);
  const idMappings = idMappingsOf(
    { isolation, isOnHostNetwork: network === 'host', joined },
    parts.settings.userNamespaces,
  );
  const isMapped = idMappings !== null;
  const { lowerDirs } = await parts.images.acquireRootfs(id, image.id);
  const [names, mounts, user, host] = await settled([
    order.names ? parts.files.writeNames(id, order.names) : [],
    planMounts({
      containerId: id,
      mounts: container.mounts,
      image: image.config,
      lowerDirs,
      volumes: parts.volumes,
      isMapped,
      makesTreesReadOnly: isKernelFrom(release(), READ_ONLY_TREES_SINCE),
    }),
    userOf(order, lowerDirs, parts.resolveUser),
    parts.hostFacts(order.spec, order.genericResources),
  ]);
  stopSignalOf(order.spec, image); // one that cannot be sent is told now, not at the end
  const spec = ociSpecOf({
    spec: order.spec,
    genericResources: order.genericResources,
    image: image.config,
    lowerDirs,
    hostname,
    user,
    mounts: [...ownMounts(names, isMapped), ...mounts, ...ownMounts(order.payloads, isMapped)],
    network,
    idMappings,
    host,
  });
  const logging = loggingOf(order, parts, spec.process);
  const { maxBytes, maxFiles } = logging.settings;
  return {
    spec,
    logMaxBytes: maxBytes,
    logMaxFiles: maxFiles,
    logging,
    ...(runtime && { runtime }),
  };
}

function loggingOf(
  { id, name, logDriver, image, spec: { container } }: ContainerOrder,
  { settings }: Pick<MakerParts, 'settings'>,
  { args, env }: OciProcess,
): Logging {
  const driver = logDriverInForce(logDriver, settings.logDriver);
  const containerId = isContainerId(id) ? id : containerIdOf(asId<TaskId>(id));
  const command = args.join(' ');
  const labels = { ...image.config.labels, ...container.labels };
  const subject = { containerId, name, imageId: image.id, imageName: container.image, command };
  const { hostname, pid, nowMs } = settings.logSource();
  return {
    settings: logSettingsOf(driver, { ...subject, labels, env, hostname }),
    source: {
      ...{ containerId, containerName: name, imageId: image.id, imageName: container.image },
      ...{ command, createdAtMs: nowMs, hostname, pid },
    },
  };
}

/** The spec's over the image's, SIGTERM without either. Throws `invalid-argument`. */
export function stopSignalOf(
  { container }: Pick<ContainerWords, 'container'>,
  image: Pick<ImageRecord, 'config'> | undefined,
): number {
  return signalNumber(container.stopSignal || image?.config.stopSignal || String(SIGTERM));
}

/** The spec's user over the image's, with the further groups that the spec names. */
async function userOf(
  { spec, image }: ContainerOrder,
  lowerDirs: readonly string[],
  resolveUser: MakerParts['resolveUser'],
): Promise<ResolvedUser> {
  const { user, groups } = spec.container;
  const resolved = await resolveUser(user || image.config.user, lowerDirs);
  const further = await Promise.all(groups.map((group) => resolveUser(`0:${group}`, lowerDirs)));
  const gids = [...resolved.additionalGids, ...further.map(({ gid }) => gid)];
  return { ...resolved, additionalGids: [...new Set(gids)] };
}
