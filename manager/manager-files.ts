/** What a manager keeps beside its Raft log: its member id and the key of its log. For root only. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import type { Random } from '../common/base/random.ts';

export interface ManagerKeys {
  /** 48-bit random; a new one for each time a node becomes a manager */
  readonly raftId: number;
  /** 32 bytes: encrypts log and snapshots */
  readonly dek: Uint8Array;
}

const DEK_BYTES = 32;
const RAFT_ID_BOUND = 2 ** 48;

export function newManagerKeys(random: Random): ManagerKeys {
  return { raftId: 1 + random.below(RAFT_ID_BOUND - 1), dek: random.bytes(DEK_BYTES) };
}

/** null when there is no file. Throws `data-loss` when it is damaged. */
export async function loadManagerKeys(path: string): Promise<ManagerKeys | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
  try {
    const { raftId, dek } = JSON.parse(text) as { raftId: number; dek: string };
    const bytes = Buffer.from(dek, 'base64');
    if (Number.isSafeInteger(raftId) && bytes.length === DEK_BYTES) return { raftId, dek: bytes };
  } catch (err) {
    throw new SkepError('data-loss', `read manager keys: ${path} is damaged`, { cause: err });
  }
  throw new SkepError('data-loss', `read manager keys: ${path} is damaged`);
}

/** Durable when it resolves. */
export async function saveManagerKeys(path: string, keys: ManagerKeys): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = JSON.stringify({
    raftId: keys.raftId,
    dek: Buffer.from(keys.dek).toString('base64'),
  });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
