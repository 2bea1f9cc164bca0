/** The seccomp filter of a spec as the kernel takes it; compiled once per profile. */
import { compileSeccomp, type SeccompProfile } from '../../native/ffi/seccomp.ts';
import type { OciSpec } from './oci.ts';

const NONE = new Uint8Array(0);
/** Specs share the profile object of the defaults. */
const ofObject = new WeakMap<SeccompProfile, Uint8Array>();
/** By what it says: a spec that was read from disk has an object of its own. */
const ofContent = new Map<string, Uint8Array>();
/** A node has few profiles; users may bring more. */
const CONTENTS_MAX = 64;

/** Empty when the spec is unconfined. */
export function seccompFilter(spec: OciSpec): Uint8Array {
  const profile = spec.linux.seccomp;
  if (profile === null) return NONE;
  const known = ofObject.get(profile);
  if (known !== undefined) return known;
  const filter = filterOf(profile);
  ofObject.set(profile, filter);
  return filter;
}

function filterOf(profile: SeccompProfile): Uint8Array {
  const content = JSON.stringify(profile);
  const known = ofContent.get(content);
  if (known !== undefined) return known;
  const filter = compileSeccomp(profile);
  if (ofContent.size >= CONTENTS_MAX) ofContent.clear();
  ofContent.set(content, filter);
  return filter;
}
