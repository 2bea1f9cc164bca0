/**
 * Has every node hold a certificate as the cluster wants it now: of the root that signs, and no longer valid than settings
 * say. Tells nodes to renew, some at a time, and ends a rotation of the root once all have. Leader only; writes
 * `node.renewCertificate` and `cluster.rootCa`.
 */
import type { Timer } from '../../common/base/clock.ts';
import type { Cluster } from '../../common/model/cluster.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import { certificateDigest, parseCertificate } from '../../common/pki/certificate.ts';
import { type Issuer, issuerFrom, sameIssuer } from '../../common/pki/chain.ts';
import { readCertificate } from '../../common/pki/der.ts';
import { authoritiesOf } from '../../common/pki/external-ca.ts';
import { BACKDATE_MS } from '../../common/pki/issue.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { Follower, type FollowerOptions } from '../store/follower.ts';
import type { Commit, ReadView } from '../store/types.ts';

/** Nodes that renew at the same time; each costs the leader some ms. Swarm's number. */
const BATCH = 30;
/** After this more are told, whether those before are done or not; and those again that have not taken up what they got. */
const ROUND_MS = 3_000;
/** Rounds that a node has for taking up the certificate that it was given. */
const ROUNDS_TO_TAKE_UP = 5;
/** Certificates' times are whole seconds. */
const VALIDITY_SLACK_MS = 60_000;
const NANOS_PER_MS = 1e6;

/** What certificates are to be like. */
export interface WantedCertificates {
  readonly issuer: Issuer;
  /** null = not looked at: others than the managers choose it */
  readonly validityMaxMs: number | null;
}

/**
 * `due`: it is to renew. `given`: it was given what is wanted, and does not say yet that it uses that. `current`: it uses it,
 * or nothing is known of it.
 */
export type CertificateState = 'due' | 'given' | 'current';

export function wantedCertificates({ rootCa, spec }: Cluster): WantedCertificates {
  const { certPem } = rootCa.rotation ?? rootCa;
  // As the authority decides who signs.
  const isOurs = authoritiesOf(spec.externalCas, certPem, rootCa.certPem).length === 0;
  return {
    issuer: issuerFrom(parseCertificate(certPem)),
    validityMaxMs: isOurs
      ? spec.nodeCertExpiryNanos / NANOS_PER_MS + BACKDATE_MS + VALIDITY_SLACK_MS
      : null,
  };
}

/** By what was issued to the node last, and by what it says that it uses. */
export function certificateState(node: Node, wanted: WantedCertificates): CertificateState {
  const { certificate, description } = node;
  if (certificate !== null) {
    const { issuer, notBeforeMs, notAfterMs } = readCertificate(certificate);
    const { validityMaxMs } = wanted;
    if (Buffer.compare(issuer, wanted.issuer.subject) !== 0) return 'due';
    if (validityMaxMs !== null && notAfterMs - notBeforeMs > validityMaxMs) return 'due';
  }
  const used = description?.tlsInfo;
  if (!used) return 'current';
  const { certIssuerSubject: subject, certIssuerPublicKey: publicKey } = used;
  if (sameIssuer({ subject, publicKey }, wanted.issuer)) return 'current';
  return certificate === null ? 'due' : 'given';
}

export class CertificateReconciler {
  readonly #options: FollowerOptions;
  readonly #follower: Follower;
  #wanted: WantedCertificates | null = null;
  /** of which cluster object `#wanted` is */
  #rootCa: Cluster['rootCa'] | null = null;
  #spec: Cluster['spec'] | null = null;
  /** Nodes that are not `current`. */
  readonly #behind = new Map<NodeId, CertificateState>();
  /** of nodes that are `given`: rounds since they were */
  readonly #rounds = new Map<NodeId, number>();
  #round: Timer | null = null;
  #isNewRound = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: async (signal) => {
        this.#rootCa = null;
        await this.#reconcile([], signal);
      },
      react: (commits, signal) => this.#reconcile(commits, signal),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#round?.cancel(); // not before: what runs until then sets it
  }

  async #reconcile(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const told = store.view((view) => {
      const [cluster] = view.list('cluster');
      if (!cluster) return [];
      if (this.#isOther(cluster)) this.#judgeAll(view, cluster);
      else this.#judge(view, changedNodes(commits));
      return this.#next(view);
    });
    await this.#tell(told, signal);
    if (this.#rootCa?.rotation && this.#behind.size === 0) await this.#finish(signal);
    if (this.#behind.size > 0) this.#awaitRound();
  }

  /** Objects of the store are replaced when they change, their parts as well. */
  #isOther(cluster: Cluster): boolean {
    const before = this.#wanted;
    if (before === null || this.#rootCa === null) return true;
    if (cluster.rootCa === this.#rootCa && cluster.spec === this.#spec) return false;
    const now = wantedCertificates(cluster);
    if (!sameIssuer(before.issuer, now.issuer)) return true;
    if (before.validityMaxMs !== now.validityMaxMs) return true;
    this.#rootCa = cluster.rootCa;
    this.#spec = cluster.spec;
    return false;
  }

  #judgeAll(view: ReadView, cluster: Cluster): void {
    this.#rootCa = cluster.rootCa;
    this.#spec = cluster.spec;
    this.#wanted = wantedCertificates(cluster);
    this.#behind.clear();
    this.#rounds.clear();
    this.#judge(
      view,
      view.list('node').map(({ id }) => id),
    );
  }

  #judge(view: ReadView, nodeIds: Iterable<NodeId>): void {
    const wanted = this.#wanted;
    if (!wanted) return;
    for (const id of nodeIds) {
      const node = view.get('node', id);
      const state = node ? certificateState(node, wanted) : 'current';
      if (state !== 'given') this.#rounds.delete(id);
      if (state === 'current') this.#behind.delete(id);
      else this.#behind.set(id, state);
    }
  }

  /** Those to be told now. A node that is away is told when it comes back, and keeps none of the others waiting. */
  #next(view: ReadView): readonly NodeId[] {
    if (this.#behind.size === 0) return [];
    const isNewRound = this.#isNewRound;
    this.#isNewRound = false;
    const waiting: NodeId[] = [];
    const away: NodeId[] = [];
    let underWay = 0;
    for (const [id, state] of this.#behind) {
      const node = view.get('node', id);
      if (!node) {
        // Removed by a commit that the feed has not told yet.
        this.#behind.delete(id);
        this.#rounds.delete(id);
        continue;
      }
      const isThere = node.status.state === 'ready';
      if (node.renewCertificate) underWay += isThere ? 1 : 0;
      else if (state === 'due' || this.#isGivenInVain(id, isNewRound)) {
        (isThere ? waiting : away).push(id);
      }
    }
    const places = Math.max(0, BATCH - (isNewRound ? 0 : underWay));
    return [...waiting.slice(0, places), ...away];
  }

  #isGivenInVain(id: NodeId, isNewRound: boolean): boolean {
    const rounds = (this.#rounds.get(id) ?? 0) + (isNewRound ? 1 : 0);
    this.#rounds.set(id, rounds);
    return rounds >= ROUNDS_TO_TAKE_UP;
  }

  async #tell(nodeIds: readonly NodeId[], signal: AbortSignal): Promise<void> {
    if (nodeIds.length === 0) return;
    const { store, log } = this.#options;
    await store.batch(
      nodeIds,
      (tx, id) => {
        const node = tx.get('node', id);
        if (node && !node.renewCertificate) tx.update('node', { ...node, renewCertificate: true });
      },
      signal,
    );
    for (const id of nodeIds) this.#rounds.delete(id);
    log.info({ nodes: nodeIds.length, behind: this.#behind.size }, 'nodes told to renew');
  }

  /** Every node uses a certificate of the next root: it becomes the one that they trust, and tokens name it. */
  async #finish(signal: AbortSignal): Promise<void> {
    const { store, random, log } = this.#options;
    const isOver = await store.update((tx) => {
      const [cluster] = tx.list('cluster');
      const rotation = cluster?.rootCa.rotation;
      if (!cluster || !rotation) return false;
      const wanted = wantedCertificates(cluster);
      if (!tx.list('node').every((node) => certificateState(node, wanted) === 'current'))
        return false;
      const { certPem, keyPem, crossSignedPem } = rotation;
      tx.update('cluster', {
        ...cluster,
        rootCa: {
          ...cluster.rootCa,
          ...{ certPem, keyPem, rotation: null, bridgePem: crossSignedPem },
          certDigest: certificateDigest(parseCertificate(certPem)),
          joinTokens: {
            worker: createJoinToken(certPem, random),
            manager: createJoinToken(certPem, random),
          },
        },
      });
      return true;
    }, signal);
    if (isOver) log.info({}, 'rotation of the trust root is over');
    else this.#rootCa = null; // somebody came meanwhile: all are judged anew
  }

  #awaitRound(): void {
    this.#round ??= this.#options.clock.setTimer(ROUND_MS, () => {
      this.#round = null;
      this.#isNewRound = true;
      this.#follower.wake();
    });
  }
}

function changedNodes(commits: readonly Commit[]): ReadonlySet<NodeId> {
  const ids = new Set<NodeId>();
  for (const { changes } of commits) {
    for (const change of changes) if (change.kind === 'node') ids.add(change.object.id);
  }
  return ids;
}
