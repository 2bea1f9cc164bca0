/** Images of this node: list, inspect, load, save, pull, tag, remove; and what a registry says of a name. */
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../common/base/clock.ts';
import { CODE_STATUS, describeError, SkepError } from '../../common/base/errors.ts';
import { DEFAULT_REGISTRY } from '../../common/model/image-reference.ts';
import { parseRegistryAuth } from '../../common/model/registry-auth.ts';
import type { ImageRecord, ImageStore, ProgressLine } from '../../worker/images/image-store.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { isoTime } from './json/common.ts';
import { some } from './json/some.ts';
import type { Routes } from './server.ts';

export interface ImageRoutesOptions {
  readonly images: ImageStore;
  readonly clock: Clock;
}

const NANOS_PER_MS = 1e6;

export function addImageRoutes(routes: Routes, { images }: ImageRoutesOptions): void {
  routes.add('GET', '/images/json', (context) => {
    const filters = Filters.parse(context.text('filters'), ['reference', 'label', 'dangling']);
    const rows = images.list().filter((image) => matches(image, filters));
    context.send(200, rows.map(imageRowToJson));
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
    context.send(200, verb === 'history' ? historyToJson(image) : imageToJson(image));
  });

  routes.add('POST', '/images/load', async (context) => {
    const lines = progressStream(context);
    await lines.follow((onProgress) => images.load(context.request, onProgress, context.signal));
  });

  routes.add('POST', '/images/create', async (context) => {
    const from = context.text('fromImage');
    if (!from) {
      throw new SkepError('unimplemented', 'import images from an archive is not supported yet');
    }
    const tag = context.text('tag') ?? '';
    const reference = tag === '' ? from : `${from}${tag.startsWith('sha256:') ? '@' : ':'}${tag}`;
    const auth = credentialsOf(context);
    const lines = progressStream(context);
    await lines.follow((onProgress) => images.pull(reference, auth, onProgress, context.signal));
  });

  routes.add('POST', '/images/*', async (context) => {
    const [name, verb] = splitVerb(context.param('*'), ['tag', 'push']);
    const tag = context.text('tag') ?? '';
    if (verb === 'push') {
      const reference = tag === '' ? name : `${name}:${tag}`;
      const auth = credentialsOf(context);
      const lines = progressStream(context);
      await lines.follow((onProgress) => images.push(reference, auth, onProgress, context.signal));
      return;
    }
    await images.tag(name, `${context.text('repo') ?? ''}${tag === '' ? '' : `:${tag}`}`);
    context.empty(201);
  });

  routes.add('POST', '/auth', async (context) => {
    const body = await context.json();
    const auth = parseRegistryAuth(Buffer.from(JSON.stringify(body)).toString('base64url'));
    if (auth === null) throw new SkepError('invalid-argument', 'log in: no user name is given');
    const { serveraddress } = body as { serveraddress?: unknown };
    await images.login(registryDomain(String(serveraddress ?? '')), auth, context.signal);
    context.send(200, { Status: 'Login Succeeded', IdentityToken: '' });
  });

  routes.add('DELETE', '/images/*', async (context) => {
    const { untagged, deleted } = await images.remove(context.param('*'), {
      force: context.flag('force'),
    });
    context.send(200, [
      ...untagged.map((name) => ({ Untagged: name })),
      ...deleted.map((id) => ({ Deleted: id })),
    ]);
  });

  routes.add('GET', '/distribution/*', async (context) => {
    const [name] = splitVerb(context.param('*'), ['json']);
    const { digest, platforms } = await images.resolveDigest(
      name,
      credentialsOf(context),
      context.signal,
    );
    context.send(200, {
      Descriptor: {
        mediaType: 'application/vnd.oci.image.index.v1+json',
        digest,
        size: 0,
      },
      Platforms: platforms.map(({ architecture, os }) => ({ architecture, os })),
    });
  });
}

/** JSON progress lines; a failure after the first line is told in the stream, as Docker does. */
function progressStream(context: RequestContext): {
  follow(work: (onProgress: (line: ProgressLine) => void) => Promise<unknown>): Promise<void>;
} {
  return {
    async follow(work) {
      const out = context.response;
      const begin = (): void => {
        if (!out.headersSent) context.stream('application/json');
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
  await pipeline(archive, context.stream('application/x-tar'));
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

function matches(image: ImageRecord, filters: Filters): boolean {
  return (
    filters.any('reference', (name) => image.repoTags.some((tag) => referenceMatches(tag, name))) &&
    filters.labels('label', image.config.labels) &&
    filters.any('dangling', (value) => (value === 'true') === (image.repoTags.length === 0))
  );
}

function referenceMatches(tag: string, pattern: string): boolean {
  const repository = tag.slice(0, tag.lastIndexOf(':'));
  const expression = pattern
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/]*');
  const regex = new RegExp(`^${expression}$`);
  return regex.test(tag) || regex.test(repository);
}

function imageRowToJson(image: ImageRecord): object {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Created: Math.floor(image.createdAtMs / 1000),
    Size: image.sizeBytes,
    SharedSize: -1,
    Containers: -1,
    Labels: image.config.labels,
  };
}

function imageToJson(image: ImageRecord): object {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: '',
    Comment: '',
    Created: isoTime(image.createdAtMs),
    Author: image.author,
    Config: {
      User: config.user,
      ...some('ExposedPorts', setOf(config.exposedPorts)),
      Env: config.env,
      Cmd: config.cmd,
      Entrypoint: config.entrypoint,
      ...some('Volumes', setOf(config.volumes)),
      WorkingDir: config.workingDir,
      Labels: config.labels,
      ...some('StopSignal', config.stopSignal),
      ...(config.healthcheck && {
        Healthcheck: {
          Test: config.healthcheck.test,
          ...some('Interval', (config.healthcheck.intervalMs ?? 0) * NANOS_PER_MS),
          ...some('Timeout', (config.healthcheck.timeoutMs ?? 0) * NANOS_PER_MS),
          ...some('StartPeriod', (config.healthcheck.startPeriodMs ?? 0) * NANOS_PER_MS),
          ...some('Retries', config.healthcheck.retries),
        },
      }),
    },
    Architecture: image.architecture,
    Os: image.os,
    Size: image.sizeBytes,
    RootFS: { Type: 'layers', Layers: image.layers },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

function historyToJson(image: ImageRecord): object[] {
  return image.history
    .map((entry, index, all) => ({
      Id: index === all.length - 1 ? image.id : '<missing>',
      Created: Math.floor((entry.createdAtMs ?? 0) / 1000),
      CreatedBy: entry.createdBy,
      Tags: index === all.length - 1 ? image.repoTags : null,
      Size: 0,
      Comment: entry.comment,
    }))
    .reverse();
}

function setOf(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}
