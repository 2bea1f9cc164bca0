/**
 * Names of images, in Docker's grammar (distribution/reference): parsing, defaults, the short form
 * that people see. Pure text; knows neither registries nor the local store.
 */
import { SkepError } from '../base/errors.ts';

export const DEFAULT_REGISTRY = 'docker.io';
export const DEFAULT_TAG = 'latest';
/** Longest registry + path, characters. */
export const IMAGE_NAME_LENGTH_MAX = 255;

/** A parsed, fully spelled name. INVARIANT: `path` of docker.io has at least two components. */
export interface ImageReference {
  /** registry host with optional port, e.g. `docker.io`, `127.0.0.1:5000` */
  readonly domain: string;
  /** repository within the registry, e.g. `library/nginx` */
  readonly path: string;
  /** null = none was given */
  readonly tag: string | null;
  /** `sha256:<64 hex>` of a manifest; null = none was given */
  readonly digest: string | null;
}

const DOMAIN_COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(
  `^(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`,
);
const PATH_COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${PATH_COMPONENT}(?:/${PATH_COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const SHA256 = /^sha256:[0-9a-f]{64}$/;
const BARE_ID = /^[0-9a-f]{64}$/;

function invalid(text: string, rule: string): SkepError {
  return new SkepError(
    'invalid-argument',
    `parse image reference ${JSON.stringify(text)}: ${rule}`,
  );
}

/** True for `sha256:` and 64 lower-case hex digits. */
export function isSha256Digest(text: string): boolean {
  return SHA256.test(text);
}

/**
 * Parses `[registry[:port]/]path[:tag][@digest]`; missing registry becomes `docker.io`, and a
 * single path component there gets `library/`. No tag is added. Throws `invalid-argument`.
 */
export function parseImageReference(text: string): ImageReference {
  if (BARE_ID.test(text)) {
    throw invalid(text, 'cannot specify 64-byte hexadecimal strings as a repository name');
  }
  const { name, tag, digest } = splitSuffixes(text);
  const { domain, path } = splitDomain(name);
  if (path === '' || !DOMAIN.test(domain)) throw invalid(text, 'invalid reference format');
  if (!PATH.test(path)) {
    if (PATH.test(path.toLowerCase())) {
      throw invalid(text, `invalid reference format: repository name (${path}) must be lowercase`);
    }
    throw invalid(text, 'invalid reference format');
  }
  if (domain.length + 1 + path.length > IMAGE_NAME_LENGTH_MAX) {
    throw invalid(
      text,
      `repository name must not be more than ${IMAGE_NAME_LENGTH_MAX} characters`,
    );
  }
  if (tag !== null && !TAG.test(tag)) throw invalid(text, 'invalid reference format');
  if (digest !== null) requireDigest(text, digest);
  return { domain, path, tag, digest };
}

function splitSuffixes(text: string): { name: string; tag: string | null; digest: string | null } {
  let name = text;
  let digest: string | null = null;
  let tag: string | null = null;
  const at = name.indexOf('@');
  if (at >= 0) {
    digest = name.slice(at + 1);
    name = name.slice(0, at);
  }
  const colon = name.lastIndexOf(':');
  if (colon > name.lastIndexOf('/')) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
  }
  return { name, tag, digest };
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  // As Docker: a first component is a host only when it cannot be a plain path component.
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || /[A-Z]/.test(first));
  let domain = isHost ? first : DEFAULT_REGISTRY;
  let path = isHost ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = DEFAULT_REGISTRY;
  if (domain === DEFAULT_REGISTRY && path !== '' && !path.includes('/')) path = `library/${path}`;
  return { domain, path };
}

function requireDigest(text: string, digest: string): void {
  if (!DIGEST.test(digest)) throw invalid(text, 'invalid reference format');
  if (!digest.startsWith('sha256:')) throw invalid(text, 'unsupported digest algorithm');
  if (!SHA256.test(digest)) throw invalid(text, 'invalid checksum digest length or case');
}

/** The same reference with `:latest` when it has neither tag nor digest. */
export function withDefaultTag(reference: ImageReference): ImageReference {
  if (reference.tag !== null || reference.digest !== null) return reference;
  return { ...reference, tag: DEFAULT_TAG };
}

/** Repository as people write it: `nginx`, `me/app`, `127.0.0.1:5000/app`. */
export function familiarRepository(reference: Pick<ImageReference, 'domain' | 'path'>): string {
  if (reference.domain !== DEFAULT_REGISTRY) return `${reference.domain}/${reference.path}`;
  const official = /^library\/([^/]+)$/.exec(reference.path);
  return official ? official[1]! : reference.path;
}

/** The reference as people write it, with the tag and digest that it has. */
export function familiarReference(reference: ImageReference): string {
  return familiarRepository(reference) + suffixes(reference);
}

/** The reference with nothing left out: `docker.io/library/nginx:latest`. */
export function canonicalReference(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}${suffixes(reference)}`;
}

function suffixes(reference: ImageReference): string {
  const tag = reference.tag === null ? '' : `:${reference.tag}`;
  return reference.digest === null ? tag : `${tag}@${reference.digest}`;
}
