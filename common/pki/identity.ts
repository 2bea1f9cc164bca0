/**
 * A node's identity: its certificate, key and trust root, kept on disk for its owner alone, and a
 * holder that tells its users when it changes.
 */
import { createPrivateKey } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { ClusterId, NodeId } from '../model/ids.ts';
import type { NodeDescription, NodeRole } from '../model/node.ts';
import { notAfterMs, notBeforeMs, parseCertificate } from './certificate.ts';
import { issuerOf, verifyNodeCertificate } from './chain.ts';
import { type SealContext, type Sealed, seal, unseal } from './sealing.ts';

export interface Identity {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
  readonly clusterId: ClusterId;
  /** the node's certificate, then those that lead from it to a root that others may still trust */
  readonly certPem: string;
  readonly keyPem: string;
  /** the root that this node trusts */
  readonly rootPem: string;
}

const FILE_NAME = 'identity.json';
const FORMAT = 1;

/**
 * The identity that these three make. Throws `unauthenticated` when the certificate is not valid
 * now under the root, `invalid-argument` when the key is not its key.
 */
export function identityOf(
  parts: { readonly certPem: string; readonly keyPem: string; readonly rootPem: string },
  nowMs: number,
): Identity {
  const certificate = parseCertificate(parts.certPem);
  const subject = verifyNodeCertificate(parts.certPem, parts.rootPem, nowMs);
  if (!certificate.checkPrivateKey(createPrivateKey(parts.keyPem))) {
    throw new SkepError(
      'invalid-argument',
      'check identity: the key is not that of the certificate',
    );
  }
  const { certPem, keyPem, rootPem } = parts;
  return { ...subject, certPem, keyPem, rootPem };
}

/** The identity as it lies on the disk: its key may be sealed. */
export interface StoredIdentity extends Omit<Identity, 'keyPem'> {
  readonly isSealed: boolean;
  /**
   * @param sealKey not looked at when it is not sealed
   * @throws SkepError `data-loss` when it does not open
   */
  open(sealKey: Uint8Array | null): Identity;
}

/**
 * Writes the identity so that a crash leaves either the old or the new one. One file, because
 * certificate and key must change together.
 */
export async function saveIdentity(
  directory: string,
  identity: Identity,
  sealing: { readonly key: Uint8Array; readonly random: Random } | null = null,
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, FILE_NAME);
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true }); // else its old mode would stay
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(encodeIdentity(identity, sealing), null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const parent = await open(directory, 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}

interface IdentityFile extends Omit<Identity, 'keyPem'> {
  readonly format: number;
  readonly keyPem?: string;
  readonly sealedKey?: Sealed;
}

function encodeIdentity(
  identity: Identity,
  sealing: { readonly key: Uint8Array; readonly random: Random } | null,
): IdentityFile {
  if (sealing === null) return { format: FORMAT, ...identity };
  const { keyPem, ...rest } = identity;
  const sealedKey = seal(keyPem, sealing.key, sealContext(identity.certPem), sealing.random);
  return { format: FORMAT, ...rest, sealedKey };
}

function sealContext(certPem: string): SealContext {
  return { purpose: 'node certificate key', associated: certPem };
}

/**
 * The saved identity; null when there is none. Its expiry is not checked: see `remainingMs`.
 * Throws `data-loss` when the file is damaged.
 */
export async function loadIdentity(directory: string): Promise<StoredIdentity | null> {
  const path = join(directory, FILE_NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new SkepError('internal', `read ${path}`, { cause });
  }
  const damaged = (cause: unknown): SkepError =>
    new SkepError('data-loss', `read node identity ${path}`, { cause });
  try {
    const parts = JSON.parse(text) as IdentityFile;
    if (parts.format !== FORMAT) throw new Error(`format ${parts.format} is not ${FORMAT}`);
    const { certPem, rootPem, keyPem, sealedKey } = parts;
    // Inside its own validity: an expired identity is still an identity.
    const nowMs = notBeforeMs(parseCertificate(certPem));
    const subject = verifyNodeCertificate(certPem, rootPem, nowMs);
    const isSealed = sealedKey !== undefined;
    const openWith = (sealKey: Uint8Array | null): Identity => {
      const key = isSealed
        ? sealKey && unseal(sealedKey, sealKey, sealContext(certPem))
        : (keyPem ?? null);
      if (key === null) throw damaged(new Error('its key does not open'));
      return identityOf({ certPem, keyPem: key, rootPem }, nowMs);
    };
    if (!isSealed) openWith(null); // damage shows at once
    return { ...subject, certPem, rootPem, isSealed, open: openWith };
  } catch (cause) {
    throw damaged(cause);
  }
}

type TlsInfo = NodeDescription['tlsInfo'];

/** Asked by each look at a node's description. */
const tlsInfos = new WeakMap<Identity, { readonly info: TlsInfo }>();

/** What a node says of its certificate; null when it cannot be told who issued it. */
export function tlsInfoOf(identity: Identity): TlsInfo {
  let known = tlsInfos.get(identity);
  if (!known) {
    const { certPem, rootPem } = identity;
    const issuer = issuerOf(certPem, rootPem);
    const info = issuer && {
      trustRootPem: rootPem,
      certIssuerSubject: issuer.subject,
      certIssuerPublicKey: issuer.publicKey,
    };
    known = { info };
    tlsInfos.set(identity, known);
  }
  return known.info;
}

/** After `swarm leave`. */
export async function removeIdentity(directory: string): Promise<void> {
  await rm(join(directory, FILE_NAME), { force: true });
}

/** Until the certificate ends; negative when it has. */
export function remainingMs(identity: Identity, nowMs: number): number {
  return notAfterMs(parseCertificate(identity.certPem)) - nowMs;
}

/**
 * When to renew: uniform in 50-80 % of the validity, so that the nodes of a cluster made at one time
 * do not all come at once. Wall clock, ms.
 */
export function renewalTimeMs(identity: Identity, random: Random): number {
  const certificate = parseCertificate(identity.certPem);
  const fromMs = notBeforeMs(certificate);
  const validityMs = notAfterMs(certificate) - fromMs;
  return fromMs + validityMs * (0.5 + 0.3 * random.unit());
}

/** The current identity of this node; users read `current` when they need it and listen for changes. */
export class IdentityHolder {
  #current: Identity;
  readonly #listeners = new Set<() => void>();

  constructor(identity: Identity) {
    this.#current = identity;
  }

  get current(): Identity {
    return this.#current;
  }

  /** Replaces it and tells the listeners. The node and its cluster never change. */
  rotate(identity: Identity): void {
    assert(identity.nodeId === this.#current.nodeId, 'identity rotates for the same node');
    assert(identity.clusterId === this.#current.clusterId, 'identity rotates in the same cluster');
    this.#current = identity;
    for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
