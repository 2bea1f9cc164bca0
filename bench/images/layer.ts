/** The layer that is measured: 41,000 files that make 142 MB of gzip, as those of a large application image. */
import { createHash } from 'node:crypto';
import { createWriteStream, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { SeededRandom } from '../../common/base/random.ts';
import { encodeTarHeader, tarPadding, tarTrailer } from '../../worker/images/tar-writer.ts';

const FILES = 41_000;
const FILES_PER_FOLDER = 100;
/** Bytes of a file that gzip cannot shorten, on average, and as many more that it nearly takes away. */
const DENSE_BYTES_MEAN = 3_400;

export interface BenchLayer {
  readonly path: string;
  readonly digest: string;
  readonly diffId: string;
  readonly sizeBytes: number;
}

/** Reproducible. Some seconds. */
export async function makeLayer(path: string): Promise<BenchLayer> {
  const [plain, packed] = [createHash('sha256'), createHash('sha256')];
  const gzip = createGzip({ level: 6 });
  gzip.on('data', (chunk: Buffer) => packed.update(chunk));
  await pipeline(Readable.from(hashed(tarOfFiles(), plain)), gzip, createWriteStream(path));
  return {
    path,
    digest: `sha256:${packed.digest('hex')}`,
    diffId: `sha256:${plain.digest('hex')}`,
    sizeBytes: statSync(path).size,
  };
}

function* hashed(chunks: Iterable<Buffer>, hash: ReturnType<typeof createHash>): Generator<Buffer> {
  for (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function* tarOfFiles(): Generator<Buffer> {
  const random = new SeededRandom(1);
  for (let i = 0; i < FILES; i++) {
    const folder = `srv/app/part${Math.floor(i / FILES_PER_FOLDER)}/`;
    if (i % FILES_PER_FOLDER === 0) yield encodeTarHeader({ name: folder, kind: 'directory' });
    // From none to twice the mean: many small files, few large ones.
    const denseBytes = Math.floor(2 * DENSE_BYTES_MEAN * random.unit());
    const data = Buffer.concat([
      Buffer.from(random.bytes(denseBytes)),
      Buffer.alloc(denseBytes, 'text '),
    ]);
    yield encodeTarHeader({ name: `${folder}file${i}.js`, kind: 'file', sizeBytes: data.length });
    yield data;
    yield tarPadding(data.length);
  }
  yield tarTrailer();
}
