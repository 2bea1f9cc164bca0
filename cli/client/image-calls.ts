/** The calls of images and registries. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type {
  ImageHistoryJson,
  ImageSummaryJson,
  ImagesPruneJson,
} from '../../common/model/engine-json/image.ts';
import { authHeader, enc } from './api-calls.ts';
import { ContainerCalls } from './container-calls.ts';
import { encodeFilters, type FilterMap } from './filter-query.ts';

export interface ProgressJson {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progress?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
}

/** Of an empty object. */
const NO_CREDENTIALS = 'e30=';
/** Image names keep their slashes. */
const encName = (name: string): string => name.split('/').map(enc).join('/');

export class ImageCalls extends ContainerCalls {
  images(filters?: FilterMap): Promise<readonly ImageSummaryJson[]> {
    return this.get('/images/json', { filters: encodeFilters(filters) });
  }

  image(name: string): Promise<object> {
    return this.get(`/images/${encName(name)}/json`);
  }

  imageHistory(name: string): Promise<readonly ImageHistoryJson[]> {
    return this.get(`/images/${encName(name)}/history`);
  }

  imagesPrune(filters: FilterMap): Promise<ImagesPruneJson> {
    return this.post('/images/prune', { filters: encodeFilters(filters) });
  }

  /** @param tar of a file system; an empty repository = without a name */
  imageImport(
    tar: Readable,
    options: {
      /** where the daemon gets it; `-` = from `tar` */
      readonly source: string;
      readonly repository: string;
      readonly tag: string;
      readonly message: string;
      readonly changes: readonly string[];
    },
  ): AsyncIterable<ProgressJson> {
    const { source: fromSrc, repository: repo, tag, message, changes } = options;
    const query = { fromSrc, repo, tag, message, changes };
    return this.http.jsonLines('POST', '/images/create', { query, body: tar });
  }

  /** One tar of all of them. */
  imagesSave(names: readonly string[]): Promise<IncomingMessage> {
    return this.http.stream('GET', '/images/get', { query: { names } });
  }

  imageLoad(tar: Readable): AsyncIterable<ProgressJson> {
    return this.http.jsonLines('POST', '/images/load', { query: { quiet: true }, body: tar });
  }

  /** @param name repository, @param tag tag or digest, @param allPlatforms with the images of others */
  imagePull(
    name: string,
    tag: string,
    registryAuth?: string,
    allPlatforms = false,
  ): AsyncIterable<ProgressJson> {
    const query = { fromImage: name, tag, ...(allPlatforms && { allPlatforms }) };
    return this.http.jsonLines('POST', '/images/create', { query, ...authHeader(registryAuth) });
  }

  /** @param tag null = all of the repository */
  imagePush(name: string, tag: string | null, registryAuth?: string): AsyncIterable<ProgressJson> {
    const query = { ...(tag !== null && { tag }) };
    // Docker's daemon wants the header, with or without credentials.
    const auth = authHeader(registryAuth ?? NO_CREDENTIALS);
    return this.http.jsonLines('POST', `/images/${encName(name)}/push`, { query, ...auth });
  }

  /** Its progress tells of each image and of what is damaged. */
  imagesVerify(): AsyncIterable<ProgressJson> {
    return this.http.jsonLines('POST', '/skep/verify-images');
  }

  /** To every node of the cluster; its progress tells of each. */
  imageDistribute(name: string): AsyncIterable<ProgressJson> {
    return this.http.jsonLines('POST', `/skep/images/${encName(name)}/distribute`);
  }

  /** Asks the registry whether it lets this user in. */
  login(credentials: {
    readonly username: string;
    readonly password: string;
    readonly serveraddress: string;
  }): Promise<{ readonly Status: string; readonly IdentityToken?: string }> {
    return this.post('/auth', {}, credentials);
  }

  imageTag(name: string, repository: string, tag: string): Promise<void> {
    return this.post(`/images/${encName(name)}/tag`, { repo: repository, tag });
  }

  imageRemove(
    name: string,
    force: boolean,
  ): Promise<readonly { readonly Untagged?: string; readonly Deleted?: string }[]> {
    const query = force ? { force } : {};
    return this.http.call('DELETE', `/images/${encName(name)}`, { query });
  }

  /** What the registry says of an image name. */
  distribution(
    image: string,
    registryAuth?: string,
  ): Promise<{
    readonly Descriptor: { readonly digest: string };
    readonly Platforms?: readonly { readonly architecture: string; readonly os: string }[] | null;
  }> {
    const path = `/distribution/${encName(image)}/json`;
    return this.http.call('GET', path, authHeader(registryAuth));
  }
}
