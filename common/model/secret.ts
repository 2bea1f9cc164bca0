/** Secrets and configs: named bytes for tasks. */
import type { ConfigId, SecretId } from './ids.ts';
import type { Annotations, Meta } from './objects.ts';

/** Data must be smaller than this, as in Swarm. */
export const SECRET_BYTES_LIMIT = 500 * 1024;
export const CONFIG_BYTES_LIMIT = 1000 * 1024;

export interface SecretSpec extends Annotations {
  readonly data: Uint8Array;
  /** `golang` = the data is a template; empty = verbatim */
  readonly templateDriver: string;
  /** external secret driver; empty = none */
  readonly driver: string;
}

export interface Secret {
  readonly id: SecretId;
  readonly meta: Meta;
  readonly spec: SecretSpec;
}

export interface ConfigSpec extends Annotations {
  readonly data: Uint8Array;
  readonly templateDriver: string;
}

export interface Config {
  readonly id: ConfigId;
  readonly meta: Meta;
  readonly spec: ConfigSpec;
}
