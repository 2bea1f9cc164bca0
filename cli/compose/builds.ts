/**
 * `build` of services, as `skep stack build` carries it out: the flags of buildah for each. Keys that it has no way for
 * are refused at their places. Calls nobody.
 */
import { isAbsolute, join } from 'node:path';
import { REMOTE_CONTEXT } from './conform.ts';
import { parseExtraHost } from './files.ts';
import type { Fields, Item } from './item.ts';

export interface Build {
  /** key of the service */
  readonly service: string;
  readonly image: string;
  /** further names */
  readonly tags: readonly string[];
  /** directory, absolute */
  readonly context: string;
  /** text of a Dockerfile that stands in the stack file; null = it is a file */
  readonly inline: string | null;
  /** of `buildah build`, without those of names, an inline Dockerfile and the context */
  readonly flags: readonly string[];
}

type Convert = (item: Item, context: string) => readonly string[];

const each =
  (flag: string): Convert =>
  (item) =>
    item.texts().flatMap((text) => [flag, text]);
const one =
  (flag: string): Convert =>
  (item) => {
    const text = item.text();
    return text === undefined ? [] : [flag, text];
  };
const when =
  (flag: string): Convert =>
  (item) =>
    item.boolean() ? [flag] : [];
/** `KEY` alone takes the value of the command's environment, which buildah reads itself. */
const pairs =
  (flag: string): Convert =>
  (item) =>
    item.pairs().flatMap(([key, value]) => [flag, value === null ? key : `${key}=${value}`]);

const FLAGS: Readonly<Record<string, Convert>> = {
  dockerfile: (item, context) => {
    const text = item.text();
    if (text === undefined) return [];
    return ['--file', isAbsolute(text) ? text : join(context, text)];
  },
  args: pairs('--build-arg'),
  labels: pairs('--label'),
  target: one('--target'),
  network: one('--network'),
  shm_size: one('--shm-size'),
  no_cache: when('--no-cache'),
  pull: when('--pull-always'),
  cache_from: each('--cache-from'),
  cache_to: each('--cache-to'),
  extra_hosts: hosts,
  platforms: (item) => {
    const platforms = item.texts();
    if (platforms.length > 1) item.problem(`${item.path}: an image is built for one platform`);
    return platforms.slice(0, 1).flatMap((platform) => ['--platform', platform]);
  },
  ulimits: (item) =>
    item.entries().flatMap(([name, limit]) => {
      const fields = limit.isMap ? limit.fields() : null;
      const soft = (fields?.get('soft') ?? limit).integer(-1);
      const hard = (fields?.get('hard') ?? limit).integer(-1);
      return ['--ulimit', `${name}=${soft}:${hard}`];
    }),
};

/** What is so, or asked for, without a flag. */
const ELSEWHERE = ['context', 'dockerfile_inline', 'tags'];
/** Refused unless they say no. */
const OFF_ONLY: Readonly<Record<string, string>> = {
  privileged: 'builds are not privileged',
  provenance: 'no attestations are made',
  sbom: 'no attestations are made',
};
const REFUSED: Readonly<Record<string, string>> = {
  additional_contexts: 'a build has one context',
  entitlements: 'builds have no entitlements',
  isolation: 'it concerns Windows; BUILDAH_ISOLATION chooses how buildah isolates',
  secrets: 'builds have no secrets of the stack',
  ssh: 'builds have no agents of ssh',
};

/** Of the services that are named, or of all with `build`. Mistakes and refusals are noted. */
export function buildsOf(
  services: readonly (readonly [string, Item])[],
  named: readonly string[],
  dir: string,
): readonly Build[] {
  return services.flatMap(([service, item]) => {
    if (!item.isMap || (named.length > 0 && !named.includes(service))) return [];
    const fields = item.fields();
    const build = fields.get('build');
    if (!build) {
      if (named.includes(service)) item.problem(`${item.path} has no build`);
      return [];
    }
    const image = fields.get('image');
    const text = image?.text();
    if (text === undefined) {
      if (!image) build.problem(`${build.path}: image is required: it names what is built`);
      return [];
    }
    return [{ service, image: text, ...buildOf(build, dir) }];
  });
}

function buildOf(build: Item, dir: string): Omit<Build, 'service' | 'image'> {
  const fields: Fields = build.isMap ? build.fields() : new Map();
  const context = contextOf(build.isMap ? fields.get('context') : build, dir);
  const inline = fields.get('dockerfile_inline');
  if (inline && fields.get('dockerfile')) {
    inline.problem(`${inline.path} and dockerfile cannot be given together`);
  }
  const flags = [...fields].flatMap(([key, item]) => {
    const why = REFUSED[key] ?? (item.isNull ? undefined : offOnly(key, item));
    if (why !== undefined) item.problem(`${item.path} is refused: ${why}`);
    else if (!ELSEWHERE.includes(key)) return FLAGS[key]?.(item, context) ?? [];
    return [];
  });
  const tags = fields.get('tags')?.texts() ?? [];
  return { context, inline: inline?.text() ?? null, flags, tags };
}

function offOnly(key: string, item: Item): string | undefined {
  const why = OFF_ONLY[key];
  return why !== undefined && item.boolean() !== false ? why : undefined;
}

/** Absolute already, where it is given. */
function contextOf(item: Item | undefined, dir: string): string {
  const text = item?.text() ?? dir;
  if (REMOTE_CONTEXT.test(text)) {
    item?.problem(`${item.path} is refused: the context is a directory of this machine`);
  }
  return text;
}

function hosts(item: Item): readonly string[] {
  const texts = item.isList
    ? item.texts()
    : item.entries().flatMap(([name, of]) => of.texts().map((address) => `${name}=${address}`));
  return texts.flatMap((text) => {
    const [address, name] = item.attempt(() => parseExtraHost(text))?.split(' ') ?? [];
    return address === undefined ? [] : ['--add-host', `${name}:${address}`];
  });
}
