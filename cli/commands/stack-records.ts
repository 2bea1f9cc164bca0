/**
 * The last deployments of a stack, kept in the cluster: each is a config whose content is the stack as it was
 * asked for, with the versions of its files by name and none of their contents.
 */

import { createHash } from 'node:crypto';
import { userInfo } from 'node:os';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { SecretJson, SecretSpecJson } from '../../common/model/engine-json/secret.ts';
import type { ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type {
  StackFileJson,
  StackPlanJson,
  StackRequestJson,
} from '../../common/model/engine-json/stack.ts';
import { FILE_NAME_CHARS_MAX } from '../../common/model/names.ts';
import { CONFIG_BYTES_LIMIT } from '../../common/model/secret.ts';
import { DEPLOYMENT_LABEL, NAMESPACE_LABEL, VERSION_OF_LABEL } from '../../common/model/stack.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import { type CommandContext, printLine, UsageError, warnLine } from './context.ts';
import { ofStack } from './stack.ts';

/** Deployments that are kept, and with them the versions of files that they name. */
export const RECORDS_MAX = 10;
const RECORD_ATTEMPTS_MAX = 5;

const BY_LABEL = 'com.skep.stack.by';
const WHAT_LABEL = 'com.skep.stack.what';
const RESULT_LABEL = 'com.skep.stack.result';

export interface Deployment {
  readonly number: number;
  /** RFC 3339 */
  readonly createdAt: string;
  /** user@manager, as the command knew them: of a client with a certificate its name */
  readonly by: string;
  /** `deploy`, or `rollback to N` */
  readonly what: string;
  /** how the waiting ended; '' when nobody waited, `incomplete` when a part could not be written */
  readonly result: string;
  readonly request: StackRequestJson;
  readonly config: SecretJson;
}

/** Newest first. Records that cannot be read are left out. */
export async function deploymentsOf(
  context: CommandContext,
  stack: string,
): Promise<readonly Deployment[]> {
  const label = [...ofStack(stack).label, DEPLOYMENT_LABEL];
  const configs = await context.client.secrets('configs', { label });
  return configs
    .flatMap((config): Deployment[] => {
      const { Labels = {}, Data = '' } = config.Spec;
      const request = decode(Data);
      const number = Number(Labels[DEPLOYMENT_LABEL]);
      if (request === null || !Number.isSafeInteger(number)) return [];
      const [by = '', what = '', result = ''] = [BY_LABEL, WHAT_LABEL, RESULT_LABEL].map(
        (name) => Labels[name],
      );
      return [{ number, createdAt: config.CreatedAt, by, what, result, request, config }];
    })
    .sort((a, b) => b.number - a.number);
}

function encode(request: StackRequestJson): Buffer {
  return gzipSync(JSON.stringify(request));
}

/** null for what is no record. */
function decode(data: string): StackRequestJson | null {
  try {
    const text = gunzipSync(Buffer.from(data, 'base64')).toString('utf8');
    return JSON.parse(text) as StackRequestJson;
  } catch {
    return null;
  }
}

export interface NewDeployment {
  readonly request: StackRequestJson;
  readonly plan: StackPlanJson;
  readonly what: string;
  /** name of the manager that answered */
  readonly manager: string;
}

/**
 * Keeps what was deployed; removes the oldest beyond the limit, and the versions of files that nobody refers
 * to any more. Resolves with the new record, or null when the stack is too large for one.
 */
export async function keepRecord(
  context: CommandContext,
  stack: string,
  { request, plan, what, manager }: NewDeployment,
): Promise<Deployment | null> {
  const data = encode(withoutData(request, plan));
  if (data.length >= CONFIG_BYTES_LIMIT) {
    warnLine(context, `this deployment is not kept for rollbacks: it has ${data.length} bytes`);
    return null;
  }
  const { SUDO_USER, USER, LOGNAME } = context.env;
  const user = SUDO_USER || USER || LOGNAME || loginName();
  const Labels = {
    [NAMESPACE_LABEL]: stack,
    [BY_LABEL]: `${context.client.certificateName ?? user}@${manager}`,
    [WHAT_LABEL]: what,
  };
  const number = await createRecord(context, stack, { Labels, Data: data.toString('base64') });
  const after = await deploymentsOf(context, stack);
  await collect(context, stack, after, plan);
  return after.find((deployment) => deployment.number === number) ?? null;
}

/** By the system's own list; a user that is not in it has a number only. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'unknown');
  }
}

/** The number after the last one; the next when somebody else deploys at the same time. */
async function createRecord(
  context: CommandContext,
  stack: string,
  { Labels, Data }: Required<Pick<SecretSpecJson, 'Labels' | 'Data'>>,
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const [last] = await deploymentsOf(context, stack);
    const number = (last?.number ?? 0) + 1;
    const numbered = { ...Labels, [DEPLOYMENT_LABEL]: String(number) };
    try {
      const Name = recordName(stack, number);
      await context.client.secretCreate('configs', { Name, Labels: numbered, Data });
      return number;
    } catch (err) {
      if (!hasStatus(err, 409) || attempt === RECORD_ATTEMPTS_MAX) throw err;
    }
  }
}

/** Names have an end; those of long stacks keep a part of theirs. */
function recordName(stack: string, number: number): string {
  const suffix = `.deployment.${number}`;
  if (stack.length + suffix.length <= FILE_NAME_CHARS_MAX) return `${stack}${suffix}`;
  const hash = createHash('sha256').update(stack).digest('hex').slice(0, 8);
  return `${stack.slice(0, FILE_NAME_CHARS_MAX - suffix.length - 9)}.${hash}${suffix}`;
}

function withoutData(request: StackRequestJson, plan: StackPlanJson): StackRequestJson {
  const named = (kind: 'secret' | 'config') => (file: StackFileJson) => {
    const { Data: _, ...rest } = file;
    const change = plan.Changes.find(({ Kind, Name }) => Kind === kind && Name === file.Name);
    return { ...rest, Object: change?.Object ?? file.Name };
  };
  return {
    ...request,
    Secrets: request.Secrets.map(named('secret')),
    Configs: request.Configs.map(named('config')),
  };
}

/** Notes how the waiting for a deployment ended. */
export async function noteResult(
  context: CommandContext,
  { config }: Deployment,
  result: string,
): Promise<void> {
  const { Data: _, ...spec } = config.Spec;
  const Labels = { ...spec.Labels, [RESULT_LABEL]: result };
  try {
    await context.client.secretUpdate('configs', config.ID, config.Version.Index, {
      ...spec,
      Labels,
    });
  } catch (err) {
    // Another deployment has outlived it meanwhile.
    if (!hasStatus(err, 404)) throw err;
  }
}

/** The deployment to go back to. Throws `UsageError` when there is none. */
export function rollbackTarget(
  stack: string,
  deployments: readonly Deployment[],
  wanted: number | null,
): Deployment {
  if (deployments.length === 0) {
    throw new UsageError(`no deployment of stack ${stack} is kept`);
  }
  const found =
    wanted === null
      ? deployments[1]
      : deployments.find((deployment) => deployment.number === wanted);
  if (found) return found;
  const numbers = deployments.map((deployment) => deployment.number).join(', ');
  throw new UsageError(
    wanted === null
      ? `stack ${stack} has no deployment before this one`
      : `stack ${stack} has no deployment ${wanted} any more: there are ${numbers}`,
  );
}

// ---- collection ----------------------------------------------------------------------------------

async function collect(
  context: CommandContext,
  stack: string,
  deployments: readonly Deployment[],
  plan: StackPlanJson,
): Promise<void> {
  const { client } = context;
  for (const { config } of deployments.slice(RECORDS_MAX)) {
    await removeUnused(context, 'configs', config.ID);
  }
  const services = await client.services();
  const specs = services.flatMap(({ Spec, PreviousSpec }) => [Spec, PreviousSpec ?? Spec]);
  for (const kind of ['secret', 'config'] as const) {
    const names = new Set(deployments.flatMap(({ request }) => filesOf(request, kind).map(nameOf)));
    const used = new Set([
      ...specs.flatMap((spec) => usedFiles(spec, kind)),
      ...deployments
        .slice(0, RECORDS_MAX)
        .flatMap(({ request }) => filesOf(request, kind).map((file) => file.Object ?? file.Name)),
      ...plan.Changes.filter(({ Kind }) => Kind === kind).map((change) => change.Object),
    ]);
    for (const { ID, Spec } of await client.secrets(`${kind}s`, ofStack(stack))) {
      const labels = Spec.Labels ?? {};
      if (Object.hasOwn(labels, DEPLOYMENT_LABEL) || used.has(Spec.Name)) continue;
      if (!names.has(labels[VERSION_OF_LABEL] ?? Spec.Name)) continue;
      printLine(context, `Removing ${kind} ${Spec.Name}: no deployment that is kept uses it`);
      await removeUnused(context, `${kind}s`, ID);
    }
  }
}

const nameOf = ({ Name }: StackFileJson): string => Name;

function filesOf(request: StackRequestJson, kind: 'secret' | 'config'): readonly StackFileJson[] {
  return kind === 'secret' ? request.Secrets : request.Configs;
}

function usedFiles({ TaskTemplate }: ServiceSpecJson, kind: 'secret' | 'config'): string[] {
  const { Secrets = [], Configs = [] } = TaskTemplate.ContainerSpec ?? {};
  return kind === 'secret'
    ? Secrets.map(({ SecretName }) => SecretName)
    : Configs.map(({ ConfigName }) => ConfigName);
}

/** A service that came to use it meanwhile keeps it; another deployment may have removed it. */
async function removeUnused(
  context: CommandContext,
  kind: 'secrets' | 'configs',
  id: string,
): Promise<void> {
  try {
    await context.client.secretRemove(kind, id);
  } catch (err) {
    if (!(err instanceof ApiError) || (err.status !== 400 && err.status !== 404)) throw err;
  }
}
