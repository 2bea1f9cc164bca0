/** Containers by hand: made, started, stopped, renamed, removed. What a task's container does is the cluster's. */
import type { Clock } from '../../common/base/clock.ts';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { LogDriver, Mount, ResourceRequirements } from '../../common/model/service.ts';
import { checkContainerSpec } from '../../manager/controlapi/container-rules.ts';
import { checkResources } from '../../manager/controlapi/service-rules.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import type { Verdict } from '../../worker/containers/lifecycle.ts';
import type { PlainContainer } from '../../worker/containers/plain-container.ts';
import type { PlainContainers } from '../../worker/containers/plain-containers.ts';
import type { MountedVolume } from '../../worker/containers/record-store.ts';
import type { StopOptions } from '../../worker/containers/stop-options.ts';
import type { TaskContainer, TaskContainers } from '../../worker/containers/task-container.ts';
import type { WaitCondition } from '../../worker/containers/waiters.ts';
import { cleanPath } from '../../worker/executor/mounts.ts';
import { signalNumber } from '../../worker/executor/signals.ts';
import type { ImageStore } from '../../worker/images/image-store.ts';
import type { EventJournal } from './event-journal.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { definitionFromJson, sharersOf } from './json/container-create.ts';
import {
  checkCpuUpdate,
  cpuPeriodOf,
  limitsFromJson,
  refuseHostConfig,
  restartFromJson,
} from './json/host-config.ts';
import { parseLink } from './json/links.ts';
import { NEWER_CONTAINER_FIELDS, withoutNewer } from './json/newer-fields.ts';
import { JsonReader } from './json/reader.ts';
import { requirePlain } from './plain-container.ts';
import { requirePlatform } from './platform-choice.ts';
import { PRUNE_FILTERS, pruneTest } from './prune-filters.ts';
import { pruneEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export interface ContainerLifecycleOptions {
  readonly containers: ContainerView;
  readonly plain: PlainContainers;
  readonly tasks: TaskContainers;
  readonly images: Pick<ImageStore, 'get'>;
  readonly clock: Clock;
  readonly events: Pick<EventJournal, 'tell'>;
  /** of a network, as the worker takes it */
  readonly networkRef: (reference: string) => string;
  /** of containers that name none */
  readonly logDriver: LogDriver;
}

const MS_PER_SECOND = 1000;
const SIGKILL_WORD = 'KILL';
/** Docker's. */
const UNLIMITED_WITHOUT_KILLER =
  'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.';
const WAIT_CONDITIONS: readonly WaitCondition[] = ['not-running', 'next-exit', 'removed'];

/** Of what is done as it was asked for, and may not be meant. */
function warningsOf({ limits, kernel }: ResourceRequirements): string[] {
  const isEndless = kernel?.oomKillDisable && limits.memoryBytes === 0;
  return isEndless ? [UNLIMITED_WITHOUT_KILLER] : [];
}

/**
 * For `--volumes-from`: binds as they were asked for, volumes by the names that they have.
 * @param volumes as they are mounted
 */
export function sharedMounts(
  { spec }: Pick<ContainerInfo, 'spec'>,
  volumes: readonly MountedVolume[],
): Mount[] {
  const { mounts } = spec.container;
  const binds = mounts.filter(({ type }) => type === 'bind');
  const named = volumes.map(({ name, target, readOnly }): Mount => {
    const asked = mounts.find((mount) => cleanPath(mount.target) === target)?.volume ?? null;
    const options = { bind: null, volume: asked, tmpfs: null };
    return { ...options, type: 'volume', source: name, target, readOnly };
  });
  return [...binds, ...named];
}

/**
 * One that another names: that it is not there makes the request wrong, for by `not-found` the docker command would pull the image.
 *
 * @param told what the client hears then
 */
function requireNamed(
  containers: Pick<ContainerView, 'require'>,
  reference: string,
  told: (cause: unknown) => string = describeError,
): ContainerInfo {
  try {
    return containers.require(reference);
  } catch (cause) {
    throw new SkepError('invalid-argument', told(cause));
  }
}

/** By the references of `--volumes-from`. */
async function mountsOfSharers(
  containers: Pick<ContainerView, 'require' | 'volumesOf'>,
  body: unknown,
): Promise<ReadonlyMap<string, readonly Mount[]>> {
  const mounts = new Map<string, readonly Mount[]>();
  for (const { reference } of sharersOf(new JsonReader(body).object('HostConfig'))) {
    const info = requireNamed(containers, reference);
    mounts.set(reference, sharedMounts(info, await containers.volumesOf(info)));
  }
  return mounts;
}

export function addContainerLifecycleRoutes(
  routes: Routes,
  options: ContainerLifecycleOptions,
): void {
  const { containers, plain, tasks, images, clock, events, networkRef, logDriver } = options;
  const ofPath = (context: RequestContext): ContainerInfo =>
    containers.require(context.param('id'));
  const drivenOfPath = (context: RequestContext): PlainContainer | TaskContainer => {
    const info = ofPath(context);
    return info.plain ?? tasks.of(info);
  };
  const plainOfPath = (context: RequestContext, action: string): PlainContainer =>
    requirePlain(ofPath(context), action);

  routes.add('POST', '/containers/create', async (context) => {
    const body = withoutNewer(await context.json(), context.apiMinor, NEWER_CONTAINER_FIELDS);
    const reference = new JsonReader(body).string('Image');
    const image = images.get(reference);
    if (image) requirePlatform(image, reference, context.text('platform') ?? '');
    const shared = await mountsOfSharers(containers, body);
    const definition = definitionFromJson(body, {
      exposedByImage: image?.config.exposedPorts ?? [],
      containerId: (reference) => requireNamed(containers, reference).id,
      linkedId: (reference) =>
        requireNamed(containers, reference, () => `could not get container for ${reference}`).id,
      networkRef,
      logDriver,
      mountsOf: (reference) => shared.get(reference) ?? [],
    });
    checkContainerSpec(definition.container, []);
    checkResources(definition.resources);
    const name = context.text('name') || null;
    const container = await plain.create(name, definition);
    context.send(201, { Id: container.id, Warnings: warningsOf(definition.resources) });
  });

  routes.add('POST', '/containers/:id/start', async (context) => {
    const container = plainOfPath(context, 'start');
    answer(context, await container.start());
  });

  routes.add('POST', '/containers/:id/stop', async (context) => {
    const container = drivenOfPath(context);
    answer(context, await container.stop(stopOptionsOf(context)));
  });

  routes.add('POST', '/containers/:id/restart', async (context) => {
    await plainOfPath(context, 'restart').restart(stopOptionsOf(context));
    context.empty(204);
  });

  routes.add('POST', '/containers/:id/kill', async (context) => {
    const signo = signalNumber(context.text('signal') || SIGKILL_WORD);
    await drivenOfPath(context).kill(signo, context.param('id'));
    context.empty(204);
  });

  routes.add('POST', '/containers/:id/pause', async (context) => {
    await drivenOfPath(context).pause();
    context.empty(204);
  });

  routes.add('POST', '/containers/:id/unpause', async (context) => {
    await drivenOfPath(context).unpause();
    context.empty(204);
  });

  routes.add('POST', '/containers/:id/rename', async (context) => {
    await plain.rename(plainOfPath(context, 'rename'), context.text('name') ?? '');
    context.empty(204);
  });

  routes.add('POST', '/containers/:id/update', async (context) => {
    const container = plainOfPath(context, 'update');
    const json = new JsonReader(await context.json());
    refuseHostConfig(json);
    const { definition } = container.record;
    checkCpuUpdate(json, new JsonReader(definition.shown.hostConfig));
    const resources = limitsFromJson(json, definition.resources, definition.cpuPeriodUs);
    checkResources(resources);
    const rule = json.object('RestartPolicy');
    const isRuleGiven = rule.string('Name') !== '';
    const restart = isRuleGiven ? restartFromJson(rule) : definition.restart;
    if (definition.autoRemove && restart.name !== 'no') {
      const words =
        'Restart policy cannot be updated because AutoRemove is enabled for the container';
      throw new SkepError('conflict', words);
    }
    await container.update({
      resources,
      cpuPeriodUs: cpuPeriodOf(json, definition.cpuPeriodUs),
      restart,
      hostConfig: { ...definition.shown.hostConfig, ...given(json, isRuleGiven) },
    });
    context.send(200, { Warnings: [] });
  });

  routes.add('POST', '/containers/:id/wait', async (context) => {
    const container = drivenOfPath(context);
    const until = conditionOf(context.text('condition'));
    context.reserveStream();
    const result = container.wait(until, context.signal);
    result.catch(() => {}); // it is awaited below, behind the headers
    // The client starts the container only when it has them.
    const out = context.stream('application/json');
    const { exitCode, error } = await result;
    const failure = error === undefined ? {} : { Error: { Message: error } };
    out.end(`${JSON.stringify({ StatusCode: exitCode, ...failure })}\n`);
  });

  routes.add('DELETE', '/containers/:id', async (context) => {
    if (context.flag('link')) {
      const words = 'Conflict, cannot remove the default link name of the container';
      throw new SkepError('conflict', words);
    }
    const container = drivenOfPath(context);
    await container.remove({ force: context.flag('force'), volumes: context.flag('v') });
    context.empty(204);
  });

  // `CONTAINER/ALIAS`: the name of a link, and of nothing else.
  routes.add('DELETE', '/containers/*', async (context) => {
    const name = context.param('*').replace(/^\//, '');
    const at = name.indexOf('/');
    if (!context.flag('link') || at < 0) {
      throw new SkepError('not-found', `No such container: ${name}`);
    }
    const [reference, alias] = [name.slice(0, at), name.slice(at + 1)];
    const container = requirePlain(containers.require(reference), 'unlink');
    const { hostConfig } = container.record.definition.shown;
    const links = new JsonReader(hostConfig).strings('Links');
    await container.unlink(alias, {
      ...hostConfig,
      Links: links.filter((link) => parseLink(link).alias !== alias),
    });
    context.empty(204);
  });

  routes.add('POST', '/containers/prune', async (context) => {
    const isMeant = pruneTest(
      Filters.parse(context.text('filters'), PRUNE_FILTERS),
      clock.wallMs(),
    );
    const { ids, bytes } = await plain.prune(
      ({ labels, record }) => isMeant({ labels, createdAtMs: record.createdAtMs }),
      async ({ id }) => (await containers.sizes({ runtimeId: id, image: null })).changedBytes,
    );
    events.tell(pruneEvent('container', bytes));
    context.send(200, { ContainersDeleted: ids, SpaceReclaimed: bytes });
  });
}

/** Of an update's body; the rest of what a container has cannot be updated, and is not looked at, as in Docker. */
const UPDATED = [
  ...['CpuShares', 'Memory', 'NanoCpus', 'CpuPeriod', 'CpuQuota', 'CpusetCpus', 'CpusetMems'],
  ...['BlkioWeight', 'MemoryReservation', 'MemorySwap', 'MemorySwappiness', 'OomKillDisable'],
  ...['PidsLimit'],
];

/** What an update says; fields that are empty say nothing. */
function given(json: JsonReader, isRuleGiven: boolean): Readonly<Record<string, unknown>> {
  const names = isRuleGiven ? [...UPDATED, 'RestartPolicy'] : UPDATED;
  return Object.fromEntries(
    names
      .map((name) => [name, json.raw(name)] as const)
      .filter(([, value]) => value !== undefined && value !== null && value !== 0 && value !== ''),
  );
}

function answer(context: RequestContext, verdict: Verdict): void {
  context.empty(verdict === 'go' ? 204 : 304);
}

/** `t` in seconds; -1 waits without end. */
function stopOptionsOf(context: RequestContext): StopOptions {
  const seconds = context.text('t');
  if (seconds !== null && !/^-?\d+$/.test(seconds)) {
    throw new SkepError('invalid-argument', `invalid t: '${seconds}' is not a number`);
  }
  const signal = context.text('signal');
  return {
    graceMs: seconds === null ? null : Number(seconds) * MS_PER_SECOND,
    signo: signal ? signalNumber(signal) : null,
  };
}

function conditionOf(text: string | null): WaitCondition {
  const wanted = text || 'not-running';
  const found = WAIT_CONDITIONS.find((one) => one === wanted);
  if (found) return found;
  throw new SkepError('invalid-argument', `invalid condition: "${wanted}"`);
}
