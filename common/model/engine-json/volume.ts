/** The Docker Engine API's JSON: volumes. */
import type { LabelsJson } from './object-head.ts';

export interface VolumeJson {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly Scope: string;
  readonly CreatedAt?: string;
  readonly Labels?: LabelsJson | null;
  readonly Options?: LabelsJson | null;
}
