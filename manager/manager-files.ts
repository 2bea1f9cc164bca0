/**
 * What a manager keeps beside its Raft log, in `raft/manager.json`: its member id, and the keys of its
 * log, sealed under the cluster's unlock key when the cluster is locked. For root only.
 *
 *   { "format": 1, "raftId", "nodeId", "hasLog", "lockVersion", "keys", "check" }
 *   keys: { "kind": "plain", "dek", "olderDeks", "identityKey" }  base64
 *       | { "kind": "sealed", "salt", "tag", "body" }         the same, sealed
 *   check: CRC-32 of the rest, so that damage is told from a wrong key
 */
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SkepError } from '../common/base/errors.ts';
import type { Random } from '../common/base/random.ts';
import { type SealContext, type Sealed, seal, unseal } from '../common/pki/sealing.ts';
import { DEK_BYTES } from './raftnode/crypt.ts';
import { type Disk, readFile, writeFileDurably } from './raftnode/disk.ts';

export interface ManagerKeys {
  /** 48-bit random; a new one for each time a node becomes a manager */
  readonly raftId: number;
  /** Whose manager it is: a directory that was moved to another node is refused. */
  readonly nodeId: string;
  /** A log was made: from then on its absence is damage. */
  readonly hasLog: boolean;
  /** 32 bytes: encrypts log and snapshots */
  readonly dek: Uint8Array;
  /** Under which files may still be while a change of key is under way. */
  readonly olderDeks: readonly Uint8Array[];
  /** 32 bytes: seals the key of the node's certificate while the cluster is locked */
  readonly identityKey: Uint8Array;
}

/** Under what the keys are sealed, and how new that is: an older one never takes the place of a newer. */
export interface ManagerLock {
  /** The unlock key; null = the cluster is not locked. */
  readonly key: Uint8Array | null;
  /** `unlockKeyVersion` of the cluster; 0 = it never had a key */
  readonly version: number;
}

export const NO_LOCK: ManagerLock = { key: null, version: 0 };

const FORMAT = 1;
const RAFT_ID_BOUND = 2 ** 48;
const IDENTITY_KEY_BYTES = 32;

export function raftDir(dataDir: string): string {
  return join(dataDir, 'raft');
}

/** @param dir the Raft directory */
export function managerFilePath(dir: string): string {
  return join(dir, 'manager.json');
}

export function newManagerKeys(random: Random, nodeId: string): ManagerKeys {
  const raftId = 1 + random.below(RAFT_ID_BOUND - 1);
  const identityKey = random.bytes(IDENTITY_KEY_BYTES);
  return {
    raftId,
    nodeId,
    hasLog: false,
    dek: random.bytes(DEK_BYTES),
    olderDeks: [],
    identityKey,
  };
}

type StoredKeys =
  | ({ readonly kind: 'plain' } & EncodedSecrets)
  | ({ readonly kind: 'sealed' } & Sealed);

interface StoredFields {
  readonly format: number;
  readonly raftId: number;
  readonly nodeId: string;
  readonly hasLog: boolean;
  readonly lockVersion: number;
  readonly keys: StoredKeys;
}

/** The file as read; its keys may need the unlock key. */
export class ManagerFile {
  readonly #path: string;
  readonly #fields: StoredFields;

  constructor(path: string, fields: StoredFields) {
    this.#path = path;
    this.#fields = fields;
  }

  get isLocked(): boolean {
    return this.#fields.keys.kind === 'sealed';
  }

  get raftId(): number {
    return this.#fields.raftId;
  }

  get nodeId(): string {
    return this.#fields.nodeId;
  }

  get hasLog(): boolean {
    return this.#fields.hasLog;
  }

  /** 0 when the cluster was never locked. */
  get lockVersion(): number {
    return this.#fields.lockVersion;
  }

  /**
   * @param unlockKey null = none is known
   * @throws SkepError `locked` without a key, `unauthenticated` with a wrong one
   */
  open(unlockKey: Uint8Array | null): ManagerKeys {
    const { raftId, nodeId, hasLog, keys } = this.#fields;
    if (keys.kind === 'plain') return { raftId, nodeId, hasLog, ...decodeSecrets(keys) };
    if (unlockKey === null) {
      throw new SkepError('locked', `read ${this.#path}: it is locked: the unlock key is needed`);
    }
    const plain = unseal(keys, unlockKey, sealContext(this.#fields));
    if (plain === null) {
      throw new SkepError('unauthenticated', `unlock ${this.#path}: invalid key provided`);
    }
    const secrets = JSON.parse(plain) as EncodedSecrets;
    return { raftId, nodeId, hasLog, ...decodeSecrets(secrets) };
  }
}

/** null when there is no file. Throws `data-loss` when it is damaged. */
export async function loadManagerFile(disk: Disk, path: string): Promise<ManagerFile | null> {
  const bytes = await readFile(disk, path);
  if (bytes === null) return null;
  const fields = parse(bytes.toString('utf8'));
  if (fields !== null) return new ManagerFile(path, fields);
  const advice = `nothing was changed; restore it from a backup, or run 'skep node rm' for this node on another manager, 'skep swarm leave --force' here, and join again`;
  throw new SkepError('data-loss', `read manager keys: ${path} is damaged: ${advice}`);
}

/** Durable when it resolves. */
export async function saveManagerFile(
  disk: Disk,
  path: string,
  keys: ManagerKeys,
  lock: ManagerLock,
  random: Random,
): Promise<void> {
  await disk.mkdir(dirname(path));
  const head = {
    format: FORMAT,
    raftId: keys.raftId,
    nodeId: keys.nodeId,
    hasLog: keys.hasLog,
    lockVersion: lock.version,
  };
  const secrets = encodeSecrets(keys);
  const stored: StoredKeys =
    lock.key === null
      ? { kind: 'plain', ...secrets }
      : {
          kind: 'sealed',
          ...seal(JSON.stringify(secrets), lock.key, sealContext(head), random),
        };
  const fields: StoredFields = { ...head, keys: stored };
  const text = JSON.stringify({ ...fields, check: checkOf(fields) });
  await writeFileDurably(disk, path, Buffer.from(text));
}

function parse(text: string): StoredFields | null {
  try {
    const { check, ...fields } = JSON.parse(text) as StoredFields & { check: number };
    return fields.format === FORMAT && checkOf(fields) === check ? fields : null;
  } catch {
    return null;
  }
}

/** Over the text that `JSON.stringify` makes of the fields in the order of the file. */
function checkOf(fields: StoredFields): number {
  return crc32(JSON.stringify(fields));
}

interface EncodedSecrets {
  readonly dek: string;
  readonly olderDeks: readonly string[];
  readonly identityKey: string;
}

type Secrets = Pick<ManagerKeys, 'dek' | 'olderDeks' | 'identityKey'>;

function encodeSecrets({ dek, olderDeks, identityKey }: Secrets): EncodedSecrets {
  return {
    dek: encode(dek),
    olderDeks: olderDeks.map(encode),
    identityKey: encode(identityKey),
  };
}

function decodeSecrets(encoded: EncodedSecrets): Secrets {
  return {
    dek: decode(encoded.dek),
    olderDeks: encoded.olderDeks.map(decode),
    identityKey: decode(encoded.identityKey),
  };
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function decode(text: string): Buffer {
  return Buffer.from(text, 'base64');
}

/** Binds the sealed keys to the member that they belong to. */
function sealContext({
  raftId,
  nodeId,
  lockVersion,
}: Pick<StoredFields, 'raftId' | 'nodeId' | 'lockVersion'>): SealContext {
  return {
    purpose: 'manager keys',
    associated: JSON.stringify([raftId, nodeId, lockVersion]),
  };
}
