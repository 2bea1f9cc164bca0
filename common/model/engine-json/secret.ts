/** The Docker Engine API's JSON: secrets and configs. */
import type { LabelsJson, ObjectHeadJson } from './object-head.ts';

export interface SecretSpecJson {
  readonly Name: string;
  readonly Labels?: LabelsJson;
  /** base 64; a secret's is never sent back */
  readonly Data?: string;
  readonly Driver?: { readonly Name: string; readonly Options?: LabelsJson };
  readonly Templating?: { readonly Name: string; readonly Options?: LabelsJson };
}

/** A secret or a config. */
export interface SecretJson extends ObjectHeadJson {
  readonly Spec: SecretSpecJson;
}
