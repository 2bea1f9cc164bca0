/** Writes to services. Everything here runs inside a store transaction. */
import { SkepError } from '../../common/base/errors.ts';
import { newId, type ServiceId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { isJob, type Service, type ServiceSpec } from '../../common/model/service.ts';
import type {
  CreateRequest,
  RegistryAuthSource,
  UpdateServiceRequest,
} from '../../common/rpc/control-methods.ts';
import type { WriteTx } from '../store/types.ts';
import { requireByRef, requireVersion } from './lookup.ts';
import { failed } from './refusal.ts';
import { resolveReferences } from './service-references.ts';
import { checkServiceSpec, checkSpecChange } from './service-rules.ts';
import type { WriteEnvironment } from './writes.ts';

export function createService(
  tx: WriteTx,
  request: CreateRequest<ServiceSpec>,
  environment: WriteEnvironment,
): Service {
  checkServiceSpec(request.spec);
  requireFreeName(tx, request.spec.name);
  const spec = resolveReferences(tx, request.spec, null);
  return tx.create('service', {
    id: newId<ServiceId>(environment.random),
    meta: UNSTAMPED,
    spec,
    specVersion: 0,
    previousSpec: null,
    previousSpecVersion: null,
    endpoint: null,
    updateStatus: null,
    jobStatus: isJob(spec.mode) ? { iteration: 0, lastExecutionMs: environment.nowMs } : null,
  });
}

/** Before ports and references, so that a second deployment hears of the name first. */
function requireFreeName(tx: WriteTx, name: string): void {
  const [taken] = tx.byName('service', name);
  if (!taken) return;
  throw new SkepError(
    'name-conflict',
    `name conflicts with an existing object: service ${name} already exists`,
  );
}

export function updateService(
  tx: WriteTx,
  request: UpdateServiceRequest,
  environment: WriteEnvironment,
): Service {
  // Whoever writes to a service that is gone hears that first, whatever is wrong with the words.
  const service = requireByRef(tx, 'service', request.ref);
  checkServiceSpec(request.spec);
  requireVersion(service, request.version);
  return request.rollback
    ? rollBack(tx, service, environment)
    : replaceSpec(tx, service, request, environment);
}

function replaceSpec(
  tx: WriteTx,
  service: Service,
  request: UpdateServiceRequest,
  environment: WriteEnvironment,
): Service {
  checkSpecChange(service.spec, request.spec);
  const resolved = resolveReferences(tx, request.spec, service.id);
  const spec = keepRegistryAuth(service, resolved, request.registryAuthFrom);
  return tx.update('service', {
    ...service,
    spec,
    specVersion: service.meta.version,
    previousSpec: service.spec,
    previousSpecVersion: service.specVersion,
    updateStatus: null,
    jobStatus: nextJobStatus(service, environment.nowMs),
  });
}

/**
 * Current and previous spec change places: two rollbacks undo each other. A job begins a new iteration;
 * there is nothing that would ever complete a rollback of it.
 */
function rollBack(tx: WriteTx, service: Service, environment: WriteEnvironment): Service {
  if (!service.previousSpec) {
    throw failed(`service ${service.spec.name} does not have a previous spec`);
  }
  resolveReferences(tx, service.previousSpec, service.id);
  return tx.update('service', {
    ...service,
    spec: service.previousSpec,
    specVersion: service.previousSpecVersion ?? 0,
    previousSpec: service.spec,
    previousSpecVersion: service.specVersion,
    updateStatus: service.jobStatus
      ? null
      : {
          state: 'rollback_started',
          startedAtMs: environment.nowMs,
          completedAtMs: null,
          message: 'manually requested rollback',
        },
    jobStatus: nextJobStatus(service, environment.nowMs),
  });
}

/** Credentials are never shown, so that an update which brings none must say whose it means. */
export function keepRegistryAuth(
  service: Service,
  spec: ServiceSpec,
  source: RegistryAuthSource,
): ServiceSpec {
  if (spec.task.container.registryAuth !== null) return spec;
  const from = source === 'spec' ? service.spec : service.previousSpec;
  const registryAuth = from?.task.container.registryAuth ?? null;
  if (registryAuth === null) return spec;
  const container = { ...spec.task.container, registryAuth };
  return { ...spec, task: { ...spec.task, container } };
}

function nextJobStatus(service: Service, nowMs: number): Service['jobStatus'] {
  const { jobStatus } = service;
  return jobStatus && { iteration: jobStatus.iteration + 1, lastExecutionMs: nowMs };
}
