/** A file behind an http(s) URL, as one stream: through the proxies, authorities and limits that registries have. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { ProgressListener } from './progress.ts';
import type { RegistryHosts } from './registry-hosts.ts';

const PROGRESS_PERIOD_MS = 100;

export interface UrlParts {
  readonly hosts: Pick<RegistryHosts, 'site'>;
  readonly clock: Clock;
}

/** Without a scheme it is plain HTTP, as docker takes it. Throws `invalid-argument`. */
export function importUrl(text: string): URL {
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new SkepError('invalid-argument', `import from ${text}: expected an http or https URL`);
  }
  return url;
}

/**
 * The file's bytes. Rejects with what is wrong with the way to it, or with its server's status; one that
 * ends before its announced length is `unavailable`.
 */
export async function* downloaded(
  { hosts, clock }: UrlParts,
  url: URL,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const shown = withoutPassword(url);
  const site = hosts.site(url);
  try {
    const headers = authorizationOf(url);
    const response = await site.request(shown, { headers, ...(signal && { signal }) });
    const { statusCode: status = 0 } = response;
    if (status !== 200) {
      response.destroy();
      const code = status === 404 ? 'not-found' : 'unavailable';
      throw new SkepError(code, `download ${shown}: the server answered with status ${status}`);
    }
    onProgress({ status: `Downloading from ${shown}` });
    const length = response.headers['content-length'];
    let current = 0;
    let shownMs = clock.monotonicMs();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      current += chunk.length;
      yield chunk;
      if (clock.monotonicMs() - shownMs < PROGRESS_PERIOD_MS) continue;
      shownMs = clock.monotonicMs();
      const progressDetail = { current, ...(length !== undefined && { total: Number(length) }) };
      onProgress({ status: 'Importing', progressDetail });
    }
  } catch (err) {
    if (signal?.aborted) throw signal.reason;
    const isWorded = err instanceof SkepError && err.message.startsWith('download ');
    throw isWorded ? err : new SkepError('unavailable', `download ${shown}`, { cause: err });
  } finally {
    site.close();
  }
}

function withoutPassword(url: URL): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return shown.href;
}

function authorizationOf({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}
