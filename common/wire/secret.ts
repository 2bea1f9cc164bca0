/** Secrets and configs. Their data is a view of the encoded bytes, never copied. */
import type { skep } from '../../proto/gen/skep.js';
import { asId, type ConfigId, type SecretId } from '../model/ids.ts';
import type { Config, ConfigSpec, Secret, SecretSpec } from '../model/secret.ts';
import { metaFromProto, metaToProto } from './objects.ts';
import { bytesFromProto, requiredMessage, text, textMap, textMapFromProto } from './scalars.ts';

export function secretSpecToProto(spec: SecretSpec): skep.SecretSpec.$Properties {
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    data: spec.data,
    templateDriver: text(spec.templateDriver),
    driver: text(spec.driver),
  };
}

export function secretSpecFromProto(m: skep.SecretSpec.$Properties): SecretSpec {
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    data: bytesFromProto(m.data),
    templateDriver: m.templateDriver ?? '',
    driver: m.driver ?? '',
  });
}

export function secretToProto(secret: Secret): skep.Secret.$Properties {
  return {
    id: text(secret.id),
    meta: metaToProto(secret.meta),
    spec: secretSpecToProto(secret.spec),
  };
}

export function secretFromProto(m: skep.Secret.$Properties): Secret {
  return Object.freeze({
    id: asId<SecretId>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'secret.meta')),
    spec: secretSpecFromProto(requiredMessage(m.spec, 'secret.spec')),
  });
}

export function configSpecToProto(spec: ConfigSpec): skep.ConfigSpec.$Properties {
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    data: spec.data,
    templateDriver: text(spec.templateDriver),
  };
}

export function configSpecFromProto(m: skep.ConfigSpec.$Properties): ConfigSpec {
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    data: bytesFromProto(m.data),
    templateDriver: m.templateDriver ?? '',
  });
}

export function configToProto(config: Config): skep.Config.$Properties {
  return {
    id: text(config.id),
    meta: metaToProto(config.meta),
    spec: configSpecToProto(config.spec),
  };
}

export function configFromProto(m: skep.Config.$Properties): Config {
  return Object.freeze({
    id: asId<ConfigId>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'config.meta')),
    spec: configSpecFromProto(requiredMessage(m.spec, 'config.spec')),
  });
}
