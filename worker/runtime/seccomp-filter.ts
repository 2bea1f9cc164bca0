/** The seccomp filter of a spec as the kernel takes it; compiled once per profile, which takes as long as a mount. */
import { compileSeccomp, type SeccompProfile } from '../../native/ffi/seccomp.ts';
import type { OciSpec } from './oci.ts';

const NONE = new Uint8Array(0);
/** By what a profile says, for each spec has an object of its own. */
const compiled = new Map<string, Uint8Array>();
/** A node has few profiles; users may bring more. */
const COMPILED_MAX = 64;

/** Empty when the spec is unconfined. */
export function seccompFilter(spec: OciSpec): Uint8Array {
  const profile = spec.linux.seccomp;
  return profile === null ? NONE : filterOf(profile);
}

function filterOf(profile: SeccompProfile): Uint8Array {
  const content = JSON.stringify(profile);
  const known = compiled.get(content);
  if (known !== undefined) return known;
  const filter = compileSeccomp(profile);
  if (compiled.size >= COMPILED_MAX) compiled.clear();
  compiled.set(content, filter);
  return filter;
}
