/**
 * What users asked for and what they were told, to be held against what is committed. A write that was
 * not answered may have been done or not.
 */
import type { ServiceSpec } from '../../../common/model/service.ts';

export interface ServiceWrite {
  /** 0 for a creation whose id is not known. */
  readonly serviceId: string | null;
  readonly spec: ServiceSpec;
  acknowledged: boolean;
}

export class Ledger {
  readonly writes = new Map<number, ServiceWrite>();
  /** By id. */
  readonly removals = new Map<string, { acknowledged: boolean }>();
}
