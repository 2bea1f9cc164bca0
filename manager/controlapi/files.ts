/** Writes to secrets and configs. */

import { deepEqual } from '../../common/base/equal.ts';
import { SkepError } from '../../common/base/errors.ts';
import { TEMPLATE_DRIVER } from '../../common/model/container-template.ts';
import { type ConfigId, newId, type SecretId } from '../../common/model/ids.ts';
import { checkFileObjectName } from '../../common/model/names.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import {
  CONFIG_BYTES_LIMIT,
  type Config,
  type ConfigSpec,
  SECRET_BYTES_LIMIT,
  type Secret,
  type SecretSpec,
} from '../../common/model/secret.ts';
import { refersTo } from '../../common/model/service-references.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import type {
  CreateRequest,
  RemoveRequest,
  UpdateRequest,
} from '../../common/rpc/control-methods.ts';
import type { WriteTx } from '../store/types.ts';
import { requireByRef, requireVersion } from './lookup.ts';
import { invalid, notDone } from './refusal.ts';
import type { WriteEnvironment } from './writes.ts';

type Kind = 'secret' | 'config';

export function createSecret(
  tx: WriteTx,
  { spec }: CreateRequest<SecretSpec>,
  environment: WriteEnvironment,
): Secret {
  if (spec.driver !== '') throw notDone(`secret driver "${spec.driver}": external drivers are`);
  checkFile('secret', spec, SECRET_BYTES_LIMIT);
  requireFreeName(tx, 'secret', spec.name);
  const id = newId<SecretId>(environment.random);
  return tx.create('secret', { id, meta: UNSTAMPED, spec: withOwnData(spec) });
}

export function createConfig(
  tx: WriteTx,
  { spec }: CreateRequest<ConfigSpec>,
  environment: WriteEnvironment,
): Config {
  checkFile('config', spec, CONFIG_BYTES_LIMIT);
  requireFreeName(tx, 'config', spec.name);
  const id = newId<ConfigId>(environment.random);
  return tx.create('config', { id, meta: UNSTAMPED, spec: withOwnData(spec) });
}

export function updateSecret(tx: WriteTx, request: UpdateRequest<SecretSpec>): Secret {
  const secret = requireByRef(tx, 'secret', request.ref);
  requireVersion(secret, request.version);
  return tx.update('secret', {
    ...secret,
    spec: withNewLabels('secret', secret.spec, request.spec),
  });
}

export function updateConfig(tx: WriteTx, request: UpdateRequest<ConfigSpec>): Config {
  const config = requireByRef(tx, 'config', request.ref);
  requireVersion(config, request.version);
  return tx.update('config', {
    ...config,
    spec: withNewLabels('config', config.spec, request.spec),
  });
}

export function removeSecret(tx: WriteTx, { ref }: RemoveRequest): string {
  const { id, spec } = requireByRef(tx, 'secret', ref);
  requireUnused(tx, 'secret', id, spec.name);
  tx.remove('secret', id);
  return id;
}

export function removeConfig(tx: WriteTx, { ref }: RemoveRequest): string {
  const { id, spec } = requireByRef(tx, 'config', ref);
  requireUnused(tx, 'config', id, spec.name);
  tx.remove('config', id);
  return id;
}

export function checkFile(kind: Kind, spec: SecretSpec | ConfigSpec, bytesLimit: number): void {
  checkFileObjectName(kind, spec.name);
  checkWordsSize(kind, spec);
  if (spec.templateDriver !== '' && spec.templateDriver !== TEMPLATE_DRIVER) {
    throw invalid(
      `${kind} template driver "${spec.templateDriver}": the only one is ${TEMPLATE_DRIVER}`,
    );
  }
  if (spec.data.length === 0 || spec.data.length >= bytesLimit) {
    throw invalid(
      `${kind} data must be larger than 0 and less than ${bytesLimit} bytes: it has ${spec.data.length}`,
    );
  }
}

function requireFreeName(tx: WriteTx, kind: Kind, name: string): void {
  if (tx.byName(kind, name).length === 0) return;
  throw new SkepError('name-conflict', `${kind} ${name} already exists`);
}

/** The given bytes may be a view of a larger message; the store keeps them for long. */
function withOwnData<S extends SecretSpec | ConfigSpec>(spec: S): S {
  return { ...spec, data: new Uint8Array(spec.data) };
}

/** Data that is absent or unchanged may be given, as `stack deploy` does. */
function withNewLabels<S extends SecretSpec | ConfigSpec>(kind: Kind, spec: S, wanted: S): S {
  const data = wanted.data.length === 0 ? spec.data : wanted.data;
  if (!deepEqual({ ...wanted, labels: spec.labels, data }, spec)) {
    throw invalid('only updates to Labels are allowed');
  }
  checkWordsSize(kind, wanted);
  return { ...spec, labels: wanted.labels };
}

/** Of all but the data. */
function checkWordsSize(kind: Kind, spec: SecretSpec | ConfigSpec): void {
  checkSize(`${kind} ${spec.name}: spec`, { ...spec, data: '' });
}

/** Now, and when the removal is applied. */
function requireUnused(tx: WriteTx, kind: Kind, id: string, name: string): void {
  const object = tx.require(kind, id);
  const services = tx.list('service').filter(({ spec }) => refersTo(spec, kind, object));
  tx.guard('unused', kind, id);
  if (services.length === 0) return;
  const names = services.map((service) => service.spec.name).sort();
  const noun = names.length === 1 ? 'service' : 'services';
  throw invalid(`${kind} '${name}' is in use by the following ${noun}: ${names.join(', ')}`);
}
