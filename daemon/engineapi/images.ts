/** Images of this node: list, inspect, load, save, pull, tag, remove; and what a registry says of a name. */
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../common/base/clock.ts';
import { CODE_STATUS, describeError, SkepError } from '../../common/base/errors.ts';
import { DEFAULT_REGISTRY } from '../../common/model/image-reference.ts';
import { parseRegistryAuth } from '../../common/model/registry-auth.ts';
import type { ImageRecord, ImageStore, ProgressLine } from '../../worker/images/image-store.ts';
import type { EventJournal } from './event-journal.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { SHARED_SIZE_SINCE } from './json/api-versions.ts';
import { historyToJson, imageRowToJson, imageToJson } from './json/image.ts';
import type { RouteParts } from './parts.ts';
import { requireOwnPlatform } from './platform-choice.ts';
import { PRUNE_FILTERS, pruneTest, untilMs } from './prune-filters.ts';
import { pruneEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export const IMAGE_FILTERS = ['reference', 'label', 'dangling', 'before', 'since', 'until'];

/** By id: what each image's layers take that others have, too. */
async function sharedBytes(images: Pick<ImageStore, 'usage'>): Promise<Map<string, number>> {
  const usage = await images.usage();
  return new Map(usage.images.map((image) => [image.id, image.sharedBytes]));
}

export interface ImageRoutesOptions {
  readonly images: ImageStore;
  readonly swarm: Pick<RouteParts['swarm'], 'requireManager'>;
  readonly clock: Clock;
  readonly events: Pick<EventJournal, 'tell'>;
}

export function addImageRoutes(
  routes: Routes,
  { images, swarm, clock, events }: ImageRoutesOptions,
): void {
  routes.add('GET', '/images/json', async (context) => {
    const filters = Filters.parse(context.text('filters'), IMAGE_FILTERS);
    const created = {
      createdAtMs: (reference: string) => requireImage(images, reference).createdAtMs,
      nowMs: clock.wallMs(),
    };
    const rows = images.list().filter(imageTest(filters, created));
    const isAsked = context.flag('shared-size') && context.apiMinor >= SHARED_SIZE_SINCE;
    const shared = isAsked ? await sharedBytes(images) : null;
    context.send(
      200,
      rows.map((image) => ({
        ...imageRowToJson(image, context.apiMinor),
        ...(shared && { SharedSize: shared.get(image.id) ?? 0 }),
      })),
    );
  });

  // Names hold slashes, so everything below /images/ is told apart by its last word.
  routes.add('GET', '/images/*', async (context) => {
    const path = context.param('*');
    if (path === 'get') {
      await saveImages(context, images, context.query.getAll('names'));
      return;
    }
    const [name, verb] = splitVerb(path, ['json', 'history', 'get']);
    if (verb === 'get') {
      await saveImages(context, images, [name]);
      return;
    }
    const image = requireImage(images, name);
    if (verb === 'history') context.send(200, historyToJson(image, images.layerSizes(image.id)));
    else context.send(200, imageToJson(image, images.layerDirs(image.id), context.apiMinor));
  });

  routes.add('POST', '/images/load', async (context) => {
    const lines = progressStream(context);
    const body = context.bodyStream();
    await lines.follow((onProgress) => images.load(body, onProgress, context.signal));
  });

  routes.add('POST', '/images/create', async (context) => {
    requireOwnPlatform(images.platform, context.text('platform') ?? '');
    const from = context.text('fromImage');
    if (!from) {
      await importImage(context, images);
      return;
    }
    const tag = context.text('tag') ?? '';
    const reference = tag === '' ? from : `${from}${tag.startsWith('sha256:') ? '@' : ':'}${tag}`;
    const auth = credentialsOf(context);
    const lines = progressStream(context);
    await lines.follow((onProgress) =>
      context.flag('allPlatforms')
        ? images.pullAllPlatforms(reference, auth, onProgress, context.signal)
        : images.pull(reference, auth, onProgress, context.signal),
    );
  });

  routes.add('POST', '/images/*', async (context) => {
    const [name, verb] = splitVerb(context.param('*'), ['tag', 'push']);
    const tag = context.text('tag') ?? '';
    if (verb === 'push') {
      if (context.text('platform')) {
        const what = 'push one platform: an image goes with all of its platforms that are here';
        throw new SkepError('unimplemented', what);
      }
      const reference = tag === '' ? name : `${name}:${tag}`;
      const auth = credentialsOf(context);
      const lines = progressStream(context);
      await lines.follow((onProgress) => images.push(reference, auth, onProgress, context.signal));
      return;
    }
    await images.tag(name, `${context.text('repo') ?? ''}${tag === '' ? '' : `:${tag}`}`);
    context.empty(201);
  });

  // Ours: every node of the cluster gets an image that this manager's node has.
  routes.add('POST', '/skep/images/*', async (context) => {
    const [name] = splitVerb(context.param('*'), ['distribute']);
    const { images: distribution } = swarm.requireManager();
    const { id, manifestDigest, tags } = images.offer(name);
    const lines = progressStream(context);
    await lines.follow(async (onProgress) => {
      onProgress({ status: `Distributing ${id}` });
      const failed: string[] = [];
      const offer = { manifestDigest, tags };
      for await (const { hostname, failure } of distribution.distribute(offer, context.signal)) {
        onProgress({ id: hostname, status: failure === null ? 'Image is there' : failure });
        if (failure !== null) failed.push(hostname);
      }
      if (failed.length === 0) return;
      throw new SkepError('unavailable', `distribute ${name}: not on ${failed.join(', ')}`);
    });
  });

  // Ours: a line for each image, and for each blob that is damaged.
  routes.add('POST', '/skep/verify-images', async (context) => {
    const lines = progressStream(context);
    await lines.follow(async (onProgress) => {
      let problems = 0;
      for await (const { subject, kind, problem } of images.verify(context.signal)) {
        if (problem !== null) problems++;
        const told = problem ?? 'ok';
        if (problem !== null || kind === 'image') onProgress({ id: subject, status: told });
      }
      if (problems > 0) throw new SkepError('data-loss', `verify images: ${problems} problems`);
    });
  });

  routes.add('POST', '/auth', async (context) => {
    const body = await context.json();
    const auth = parseRegistryAuth(Buffer.from(JSON.stringify(body)).toString('base64url'));
    if (auth === null) throw new SkepError('invalid-argument', 'log in: no user name is given');
    const { serveraddress } = body as { serveraddress?: unknown };
    const domain = registryDomain(String(serveraddress ?? ''));
    const token = await images.login(domain, auth, context.signal);
    context.send(200, { Status: 'Login Succeeded', IdentityToken: token ?? '' });
  });

  routes.add('POST', '/images/prune', async (context) => {
    const filters = Filters.parse(context.text('filters'), ['dangling', ...PRUNE_FILTERS]);
    const isPruned = prunedBy(filters, clock.wallMs());
    const { untagged, deleted, bytes } = await images.prune((image) => !isPruned(image));
    events.tell(pruneEvent('image', bytes));
    context.send(200, {
      ImagesDeleted: removalRows(untagged, deleted),
      SpaceReclaimed: bytes,
    });
  });

  routes.add('DELETE', '/images/*', async (context) => {
    const { untagged, deleted } = await images.remove(context.param('*'), {
      force: context.flag('force'),
    });
    context.send(200, removalRows(untagged, deleted));
  });

  routes.add('GET', '/distribution/*', async (context) => {
    const [name] = splitVerb(context.param('*'), ['json']);
    const { digest, mediaType, sizeBytes, platforms } = await images.resolveDigest(
      name,
      credentialsOf(context),
      context.signal,
    );
    context.send(200, {
      Descriptor: { mediaType, digest, size: sizeBytes },
      Platforms: platforms.map(({ architecture, os }) => ({ architecture, os })),
    });
  });
}

function removalRows(untagged: readonly string[], deleted: readonly string[]): object[] {
  return [
    ...untagged.map((name) => ({ Untagged: name })),
    ...deleted.map((id) => ({ Deleted: id })),
  ];
}

/** The body is a tar of a file system, or a URL leads to one. */
async function importImage(context: RequestContext, images: ImageStore): Promise<void> {
  const source = context.text('fromSrc');
  if (source === null || source === '') {
    throw new SkepError('invalid-argument', 'import image: neither fromImage nor fromSrc is given');
  }
  const [repository, tag] = [context.text('repo') ?? '', context.text('tag') ?? ''];
  const name = repository === '' ? null : `${repository}${tag === '' ? '' : `:${tag}`}`;
  const message = context.text('message') || `Imported from ${source}`;
  const changes = context.query.getAll('changes');
  const lines = progressStream(context);
  await lines.follow(async (onProgress) => {
    const options = { changes, message };
    const image =
      source === '-'
        ? await images.import(context.bodyStream(), name, options, context.signal)
        : await images.importFrom(source, name, options, onProgress, context.signal);
    onProgress({ status: image.id });
  });
}

/** What `prune` takes among the images that no container uses: those without a tag, or all. */
function prunedBy(filters: Filters, nowMs: number): (image: ImageRecord) => boolean {
  const all = filters.boolean('dangling') === false;
  const isMeant = pruneTest(filters, nowMs);
  return ({ repoTags, createdAtMs, config }) =>
    (all || repoTags.length === 0) && isMeant({ createdAtMs, labels: config.labels });
}

/** JSON progress lines; a failure after the first line is told in the stream, as Docker does. */
function progressStream(context: RequestContext): {
  follow(work: (onProgress: (line: ProgressLine) => void) => Promise<unknown>): Promise<void>;
} {
  return {
    async follow(work) {
      const out = context.response;
      const begin = (): void => {
        if (!out.headersSent) context.begin('application/json');
      };
      try {
        await work((line) => {
          begin();
          out.write(`${JSON.stringify(line)}\r\n`);
        });
        begin();
      } catch (err) {
        if (!out.headersSent) throw err;
        const message = describeError(err);
        const code = err instanceof SkepError ? CODE_STATUS[err.code].http : 500;
        out.write(`${JSON.stringify({ errorDetail: { code, message }, error: message })}\r\n`);
      }
      out.end();
      if (!out.writableFinished) await once(out, 'finish');
    },
  };
}

async function saveImages(
  context: RequestContext,
  images: ImageStore,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) throw new SkepError('invalid-argument', 'save: no image is named');
  for (const name of names) requireImage(images, name);
  const archive = images.save(names);
  try {
    await pipeline(archive, context.begin('application/x-tar'));
  } catch (err) {
    context.signal.throwIfAborted(); // a client that has enough of it is no failure of ours
    throw err;
  }
}

function requireImage(images: ImageStore, name: string): ImageRecord {
  const image = images.get(name);
  if (!image) throw new SkepError('not-found', `No such image: ${name}`);
  return image;
}

function splitVerb(path: string, verbs: readonly string[]): readonly [string, string] {
  const at = path.lastIndexOf('/');
  const verb = path.slice(at + 1);
  if (at <= 0 || !verbs.includes(verb)) throw new SkepError('not-found', 'page not found');
  return [path.slice(0, at), verb];
}

function credentialsOf(context: RequestContext): ReturnType<typeof parseRegistryAuth> {
  const header = context.request.headers['x-registry-auth'];
  return parseRegistryAuth(typeof header === 'string' ? header : null);
}

/** Clients send a host, or the address that Docker's hub had once. */
function registryDomain(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  return host === '' || host === 'index.docker.io' ? DEFAULT_REGISTRY : host;
}

export interface ImageTimes {
  /** Of the image that is meant. Throws `not-found`. */
  readonly createdAtMs: (reference: string) => number;
  /** what durations are before */
  readonly nowMs: number;
}

/** Throws `invalid-argument` for a value that means nothing, `not-found` for an image that is not there. */
export function imageTest(
  filters: Filters,
  { createdAtMs, nowMs }: ImageTimes,
): (image: Pick<ImageRecord, 'repoTags' | 'repoDigests' | 'config' | 'createdAtMs'>) => boolean {
  const dangling = filters.boolean('dangling');
  const before = Math.min(...filters.get('before').map(createdAtMs), untilMs(filters, nowMs));
  const since = Math.max(...filters.get('since').map(createdAtMs));
  return (image) =>
    image.createdAtMs < before &&
    image.createdAtMs > since &&
    filters.any('reference', (pattern) => namesOf(image).some((n) => nameMatches(n, pattern))) &&
    filters.labels('label', image.config.labels) &&
    (dangling === undefined || dangling === (image.repoTags.length === 0));
}

/** With tags and with digests: images that tasks pulled have no tag. */
function namesOf({
  repoTags,
  repoDigests,
}: Pick<ImageRecord, 'repoTags' | 'repoDigests'>): { name: string; repository: string }[] {
  return [
    ...repoTags.map((name) => ({ name, repository: name.slice(0, name.lastIndexOf(':')) })),
    ...repoDigests.map((name) => ({ name, repository: name.slice(0, name.lastIndexOf('@')) })),
  ];
}

function nameMatches(
  { name, repository }: { readonly name: string; readonly repository: string },
  pattern: string,
): boolean {
  const expression = pattern
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/]*');
  const regex = new RegExp(`^${expression}$`);
  return regex.test(name) || regex.test(repository);
}
