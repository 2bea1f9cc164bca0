/** A context as one file: the tar that `docker context export` writes. */
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, pack } from 'tar-stream';
import { SkepError } from '../../common/base/errors.ts';
import {
  type ContextMeta,
  isTlsFileName,
  metaOf,
  type TlsFileName,
  type TlsMaterial,
} from './contexts.ts';

/** As docker limits it. */
const BYTES_MAX = 10 * 1024 * 1024;

export function packContext(meta: ContextMeta, tls: TlsMaterial): Readable {
  const tar = pack();
  tar.entry({ name: 'meta.json', mode: 0o644 }, JSON.stringify(meta));
  const files = Object.entries(tls);
  if (files.length > 0) {
    tar.entry({ name: 'tls', type: 'directory', mode: 0o700 });
    tar.entry({ name: 'tls/docker', type: 'directory', mode: 0o700 });
  }
  for (const [name, text] of files) tar.entry({ name: `tls/docker/${name}`, mode: 0o600 }, text);
  tar.finalize();
  const out = new PassThrough();
  tar.on('error', (err) => out.destroy(err));
  tar.pipe(out);
  return out;
}

/** Throws `invalid-argument` for what is no context. @param name of the file, for the words */
export async function unpackContext(
  source: Readable,
  name: string,
): Promise<{ readonly meta: ContextMeta; readonly tls: TlsMaterial }> {
  let meta: ContextMeta | null = null;
  const tls: Partial<Record<TlsFileName, string>> = {};
  let left = BYTES_MAX;
  const tar = extract();
  tar.on('entry', (header, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on('data', (data) => {
      const chunk = data as Buffer;
      left -= chunk.length;
      if (left >= 0) chunks.push(chunk);
    });
    stream.on('error', next);
    stream.on('end', () => {
      try {
        if (left < 0) throw new SkepError('invalid-argument', `${name}: longer than 10 MiB`);
        take(header.name, Buffer.concat(chunks).toString('utf8'));
        next();
      } catch (err) {
        next(err as Error);
      }
    });
  });
  const take = (path: string, text: string): void => {
    const [, file] = /^tls\/docker\/([^/]+)$/.exec(path) ?? [];
    if (path === 'meta.json') meta = metaOf(text, `${name}: meta.json`);
    else if (file !== undefined && isTlsFileName(file)) tls[file] = text;
    else if (text !== '')
      throw new SkepError('invalid-argument', `${name}: unexpected file ${path}`);
  };
  try {
    await pipeline(source, tar);
  } catch (cause) {
    if (cause instanceof SkepError) throw cause;
    throw new SkepError('invalid-argument', `${name}: not a tar`, { cause });
  }
  if (meta === null) throw new SkepError('invalid-argument', `${name}: no meta.json in it`);
  return { meta, tls };
}
