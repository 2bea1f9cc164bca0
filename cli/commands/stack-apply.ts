/** Carries out what the manager planned for a stack, object by object, and nothing else. */
import type { ServiceJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type {
  StackChangeJson,
  StackPlanJson,
  StackRequestJson,
} from '../../common/model/engine-json/stack.ts';
import { fileLabels } from '../../common/model/stack.ts';
import { hasStatus, isOutOfSequence } from '../client/transport.ts';
import { type CommandContext, printLine, UsageError, warnLine } from './context.ts';
import { authOption, sentRegistryAuth } from './service-spec.ts';
import { ofStack } from './stack.ts';

/** Somebody else's change came between the plan and its execution: plan again so many times. */
const PLANS_MAX = 5;

export interface Applied {
  /** the last plan */
  readonly plan: StackPlanJson;
  /** names of services that were created, updated or removed, over all plans */
  readonly changed: ReadonlySet<string>;
  /** anything was written */
  readonly isChange: boolean;
}

export interface ApplyOptions {
  /** the only plan that is wanted; null = any */
  readonly planHash: string | null;
  /** the nodes get the credentials of the images' registries */
  readonly withRegistryAuth: boolean;
}

class MovedOn extends Error {}

/** Something was written, and then came `cause`. */
export class HalfApplied extends Error {
  readonly applied: Applied;

  constructor(applied: Applied, cause: unknown) {
    super('a part of the plan was carried out', { cause });
    this.applied = applied;
  }
}

/**
 * Plans, and applies, until a plan went through. Throws `UsageError` when the plan is not the one that
 * `planHash` names, or something else came between; within `HalfApplied` once anything was written.
 */
export async function planAndApply(
  context: CommandContext,
  stack: string,
  request: StackRequestJson,
  { planHash: wantedHash, withRegistryAuth }: ApplyOptions,
): Promise<Applied> {
  const changed = new Set<string>();
  const first = await context.client.stackPlan(stack, request);
  if (wantedHash !== null && first.Hash !== wantedHash) {
    throw new UsageError(
      `the plan ${wantedHash} no longer holds: the stack file or the cluster has changed (now ${first.Hash})`,
    );
  }
  const agreed = new Set(first.Changes.map(signature));
  let plan = first;
  let isChange = false;
  const onWrite = (): void => {
    isChange = true;
  };
  try {
    for (let attempt = 1; ; attempt++) {
      // What is done meanwhile is `none` in the next plan.
      const open = plan.Changes.filter(({ Action }) => Action !== 'none').map(signature);
      if (wantedHash !== null && !open.every((change) => agreed.has(change))) {
        throw new UsageError(`the plan ${wantedHash} no longer holds: the cluster has changed`);
      }
      try {
        await apply(context, stack, { request, plan, changed, withRegistryAuth, onWrite });
        return { plan, changed, isChange };
      } catch (err) {
        if (!(err instanceof MovedOn)) throw err;
        if (attempt === PLANS_MAX) throw err.cause ?? err;
        plan = await context.client.stackPlan(stack, request);
      }
    }
  } catch (err) {
    throw isChange ? new HalfApplied({ plan, changed, isChange }, err) : err;
  }
}

/** What is agreed to, on what it was agreed: another spec by now is somebody else's, also where the same fields differ. */
const signature = ({ Kind, Name, ID, SpecVersion, Action, ...what }: StackChangeJson): string =>
  JSON.stringify([Kind, Name, ID, SpecVersion.Index, Action, what.Fields, what.ForcedBy]);

interface ApplyWork extends Pick<ApplyOptions, 'withRegistryAuth'> {
  readonly request: StackRequestJson;
  readonly plan: StackPlanJson;
  /** names of services are added as they are written */
  readonly changed: Set<string>;
  readonly onWrite: () => void;
}

async function apply(
  context: CommandContext,
  stack: string,
  { request, plan, changed, withRegistryAuth, onWrite }: ApplyWork,
): Promise<void> {
  const state: ApplyState = {
    ...{ request, withRegistryAuth },
    files: new Map(),
    services: new Map(
      (await context.client.services(ofStack(stack))).map((service) => [service.ID, service]),
    ),
    outside: new Map(),
  };
  for (const change of plan.Changes) {
    await applyOne(context, state, change);
    if (change.Action !== 'none') onWrite();
    if (change.Kind === 'service' && change.Action !== 'none') changed.add(change.Name);
  }
}

interface ApplyState extends Pick<ApplyOptions, 'withRegistryAuth'> {
  readonly request: StackRequestJson;
  /** `kind name` of the stack -> the object that it is */
  readonly files: Map<string, FileObject>;
  readonly services: ReadonlyMap<string, ServiceJson>;
  /** the same for objects that are not the stack's own */
  readonly outside: Map<string, FileObject>;
}

interface FileObject {
  readonly id: string;
  readonly name: string;
}

function applyOne(
  context: CommandContext,
  state: ApplyState,
  change: StackChangeJson,
): Promise<void> {
  switch (change.Kind) {
    case 'network':
      return applyNetwork(context, state, change);
    case 'secret':
    case 'config':
      return applyFile(context, state, change);
    case 'service':
      return applyService(context, state, change);
  }
}

async function applyNetwork(
  context: CommandContext,
  { request }: ApplyState,
  { Name, Action }: StackChangeJson,
): Promise<void> {
  if (Action !== 'create') return;
  printLine(context, `Creating network ${Name}`);
  const written = request.Networks.find((spec) => spec.Name === Name)!;
  await orMovedOn(context.client.networkCreate(written));
}

async function applyFile(
  context: CommandContext,
  { request, files }: ApplyState,
  { Kind, Name, Object: name, ID, Version, Action }: StackChangeJson,
): Promise<void> {
  const kind = Kind === 'secret' ? 'secrets' : 'configs';
  const given = (Kind === 'secret' ? request.Secrets : request.Configs).find(
    (file) => file.Name === Name,
  )!;
  const { Object: _, ...written } = given;
  const spec = { ...written, Name: name, Labels: fileLabels(Name, name, written.Labels ?? {}) };
  let id = ID;
  if (Action === 'create') {
    printLine(context, `Creating ${Kind} ${name}`);
    id = (await orMovedOn(context.client.secretCreate(kind, spec))).ID;
  } else if (Action === 'update') {
    await orMovedOn(context.client.secretUpdate(kind, ID, Version.Index, spec));
  }
  files.set(`${Kind} ${Name}`, { id, name });
}

async function applyService(
  context: CommandContext,
  state: ApplyState,
  { Name, ID, Version, Action }: StackChangeJson,
): Promise<void> {
  const { client } = context;
  if (Action === 'none') return;
  if (Action === 'remove') {
    printLine(context, `Removing service ${Name}`);
    await orMovedOn(client.serviceRemove(ID));
    return;
  }
  const written = state.request.Services.find((spec) => spec.Name === Name)!;
  const spec = await withFiles(context, state, written);
  const image = written.TaskTemplate.ContainerSpec.Image;
  const auth = authOption(await sentRegistryAuth(context, image, state.withRegistryAuth));
  if (Action === 'create') {
    printLine(context, `Creating service ${Name}`);
    warnAll(context, (await orMovedOn(client.serviceCreate(spec, auth))).Warnings);
    return;
  }
  const before = state.services.get(ID);
  if (before?.Version.Index !== Version.Index) throw new MovedOn(`service ${Name} has changed`);
  const { ForceUpdate = 0 } = before.Spec.TaskTemplate;
  const kept = { ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate } };
  printLine(context, `Updating service ${Name} (id: ${ID})`);
  const answer = await orMovedOn(client.serviceUpdate(ID, Version.Index, kept, auth));
  warnAll(context, answer?.Warnings);
}

function warnAll(context: CommandContext, warnings: readonly string[] | null | undefined): void {
  for (const warning of warnings ?? []) warnLine(context, warning);
}

/**
 * What the daemon says when somebody else was faster: the version is no longer the newest, there is such an object by
 * now (409), or none any more (404). The next plan knows whether that can still be.
 */
async function orMovedOn<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (err) {
    if (hasStatus(err, 409) || hasStatus(err, 404) || isOutOfSequence(err)) {
      throw new MovedOn(err.message, { cause: err });
    }
    throw err;
  }
}

/** The objects that the spec's secrets and configs are. */
async function withFiles(
  context: CommandContext,
  state: ApplyState,
  spec: ServiceSpecJson,
): Promise<ServiceSpecJson> {
  const { ContainerSpec } = spec.TaskTemplate;
  const { Secrets, Configs } = ContainerSpec;
  const secrets = await inTurn(Secrets ?? [], async (use) => {
    const { id, name } = await fileObject(context, state, 'secret', use.SecretName);
    return { ...use, SecretID: id, SecretName: name };
  });
  const configs = await inTurn(Configs ?? [], async (use) => {
    const { id, name } = await fileObject(context, state, 'config', use.ConfigName);
    return { ...use, ConfigID: id, ConfigName: name };
  });
  const container = {
    ...ContainerSpec,
    ...(Secrets && { Secrets: secrets }),
    ...(Configs && { Configs: configs }),
  };
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: container } };
}

async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<T>): Promise<T[]> {
  const out: T[] = [];
  for (const item of items) out.push(await work(item));
  return out;
}

async function fileObject(
  context: CommandContext,
  { files, outside }: ApplyState,
  kind: 'secret' | 'config',
  name: string,
): Promise<FileObject> {
  const key = `${kind} ${name}`;
  const known = files.get(key) ?? outside.get(key);
  if (known) return known;
  const { ID, Spec } = await orMovedOn(context.client.secret(`${kind}s`, name));
  const found = { id: ID, name: Spec.Name };
  outside.set(key, found);
  return found;
}
