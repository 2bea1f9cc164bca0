/** Secrets and configs: Docker's JSON and our model. */
import type { Config, ConfigSpec, Secret, SecretSpec } from '../../../common/model/secret.ts';
import { isoTime } from './common.ts';
import type { JsonReader } from './reader.ts';

export function secretSpecFromJson(json: JsonReader): SecretSpec {
  return {
    name: json.string('Name'),
    labels: json.stringMap('Labels'),
    data: json.base64('Data'),
    templateDriver: templateDriverFromJson(json),
    driver: json.object('Driver').string('Name'),
  };
}

function templateDriverFromJson(json: JsonReader): string {
  const templating = json.object('Templating');
  templating.refuse('Options', 'the template driver has no options');
  return templating.string('Name');
}

/** Never with its data. */
export function secretToJson(secret: Secret): object {
  const { spec } = secret;
  return {
    ...head(secret),
    Spec: {
      Name: spec.name,
      Labels: spec.labels,
      ...(spec.driver && { Driver: { Name: spec.driver } }),
      ...(spec.templateDriver && { Templating: { Name: spec.templateDriver } }),
    },
  };
}

export function configSpecFromJson(json: JsonReader): ConfigSpec {
  return {
    name: json.string('Name'),
    labels: json.stringMap('Labels'),
    data: json.base64('Data'),
    templateDriver: templateDriverFromJson(json),
  };
}

export function configToJson(config: Config): object {
  const { spec } = config;
  return {
    ...head(config),
    Spec: {
      Name: spec.name,
      Labels: spec.labels,
      Data: Buffer.from(spec.data).toString('base64'),
      ...(spec.templateDriver && { Templating: { Name: spec.templateDriver } }),
    },
  };
}

function head(object: Secret | Config): object {
  return {
    ID: object.id,
    Version: { Index: object.meta.version },
    CreatedAt: isoTime(object.meta.createdAtMs),
    UpdatedAt: isoTime(object.meta.updatedAtMs),
  };
}
