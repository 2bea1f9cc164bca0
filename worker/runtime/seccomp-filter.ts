/** The seccomp filter of a spec as the kernel takes it; compiled once per profile and capabilities. */
import { compileSeccomp } from '../../native/ffi/seccomp.ts';
import type { OciSpec } from './oci.ts';

const NONE = new Uint8Array(0);

/** Empty when the spec is unconfined. */
export function seccompFilter(spec: OciSpec): Uint8Array {
  const profile = spec.linux.seccomp;
  return profile === null ? NONE : compileSeccomp(profile);
}
