/** The seccomp filter of a spec as the kernel takes it; compiled once per profile and capabilities. */
import { compileSeccomp, type SeccompProfile } from '../../native/ffi/seccomp.ts';
import type { OciSpec } from './oci.ts';

const NONE = new Uint8Array(0);
/** Specs share the profile object of the defaults. */
const compiled = new WeakMap<SeccompProfile, Uint8Array>();

/** Empty when the spec is unconfined. */
export function seccompFilter(spec: OciSpec): Uint8Array {
  const profile = spec.linux.seccomp;
  if (profile === null) return NONE;
  const known = compiled.get(profile);
  if (known !== undefined) return known;
  const filter = compileSeccomp(profile);
  compiled.set(profile, filter);
  return filter;
}
