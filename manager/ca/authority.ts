/**
 * The certificate authority of a manager: hands out the root certificate, and, on the leader, node
 * certificates for join tokens and for renewals. Its only truth is the cluster object in the store.
 */
import type { Clock } from '../../common/base/clock.ts';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { Cluster, ExternalCa } from '../../common/model/cluster.ts';
import { type NodeId, newId } from '../../common/model/ids.ts';
import type { NodeRole } from '../../common/model/node.ts';
import { latestEndMs, notAfterMs, parseCertificate } from '../../common/pki/certificate.ts';
import { authoritiesOf, type WantedCertificate } from '../../common/pki/external-ca.ts';
import { type CertificateAuthority, issueNodeCertificate as sign } from '../../common/pki/issue.ts';
import { parseJoinToken, sameToken } from '../../common/pki/join-token.ts';
import {
  getRootCertificate,
  type IssueCertificateRequest,
  type IssuedCertificate,
  issueNodeCertificate,
} from '../../common/rpc/ca-methods.ts';
import type { LeaderCaller } from '../../common/rpc/leader.ts';
import type { Peer } from '../../common/rpc/peer.ts';
import type { RpcServer } from '../../common/rpc/server.ts';
import type { ReadView, Store } from '../store/types.ts';
import { newNode } from './bootstrap.ts';
import { type ExternalSigner, signOutside } from './external-signing.ts';

const NANOS_PER_MS = 1e6;

export interface AuthorityOptions {
  readonly store: Store;
  readonly leader: LeaderCaller;
  readonly external: ExternalSigner;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A caller, and whether a manager spoke for it. */
export interface CertificateCaller {
  readonly peer: Peer;
  readonly forwarded: boolean;
}

/** Stateless between calls; may run on every manager. */
export class Authority {
  readonly #options: AuthorityOptions;

  constructor(options: AuthorityOptions) {
    this.#options = options;
  }

  /** Serves the CA's methods; returns the release. */
  register(server: Pick<RpcServer, 'handleUnary'>): () => void {
    const releases = [
      server.handleUnary(getRootCertificate, async () => this.rootCertificate()),
      server.handleUnary(issueNodeCertificate, (request, context) =>
        this.issue(request, context, context.signal),
      ),
    ];
    return () => {
      for (const release of releases) release();
    };
  }

  /** PEM. Throws `unavailable` before this manager has the cluster object. */
  rootCertificate(): string {
    return this.#options.store.view(requireCluster).rootCa.certPem;
  }

  /**
   * A certificate for a new node (by token, when the caller has no certificate) or for the caller
   * itself, with the role that the store says. On the leader; other managers pass the call on.
   * Rejects with `invalid-argument` for a bad token or request, `permission-denied` for a node that
   * is not (any more) in the cluster.
   */
  async issue(
    request: IssueCertificateRequest,
    caller: CertificateCaller,
    signal?: AbortSignal,
  ): Promise<IssuedCertificate> {
    const { nodeId } = caller.peer;
    if (nodeId === null) parseJoinToken(request.token); // refused before anybody else is bothered
    const { response } = await this.#options.leader.run({
      method: issueNodeCertificate,
      request,
      caller,
      signal,
      local: () =>
        nodeId === null
          ? this.#admit(request, caller.peer.address, signal)
          : this.#renew(nodeId, request.csrPem, signal),
    });
    return response;
  }

  async #admit(
    request: IssueCertificateRequest,
    address: string,
    signal: AbortSignal | undefined,
  ): Promise<IssuedCertificate> {
    const { store, random, log } = this.#options;
    const cluster = store.view(requireCluster);
    const role = roleOfToken(cluster, request.token);
    const nodeId = newId<NodeId>(random);
    const certPem = await this.#sign(cluster, nodeId, role, request.csrPem, signal);
    await store.update((tx) => {
      // Signing took time: a token that was rotated meanwhile admits nobody.
      roleOfToken(requireCluster(tx), request.token);
      tx.create('node', newNode(nodeId, role, request.availability, certPem, address));
    }, signal);
    log.info({ nodeId, role, from: address }, 'node admitted');
    return { certPem, rootPem: cluster.rootCa.certPem };
  }

  async #renew(
    nodeId: NodeId,
    csrPem: string,
    signal: AbortSignal | undefined,
  ): Promise<IssuedCertificate> {
    const { store, log } = this.#options;
    const { cluster, role } = store.view((view) => ({
      cluster: requireCluster(view),
      role: requireNode(view, nodeId).role,
    }));
    const certPem = await this.#sign(cluster, nodeId, role, csrPem, signal);
    await store.update((tx) => {
      const node = requireNode(tx, nodeId);
      if (node.role !== role) {
        throw new SkepError('unavailable', `renew certificate of node ${nodeId}: its role changed`);
      }
      if (signingRootOf(requireCluster(tx)) !== signingRootOf(cluster)) {
        throw new SkepError(
          'unavailable',
          `renew certificate of node ${nodeId}: another root signs by now`,
        );
      }
      const issued = parseCertificate(certPem);
      tx.update('node', {
        ...node,
        certificate: new Uint8Array(issued.raw),
        certificatesEndMs: Math.max(latestEndMs(node), notAfterMs(issued)),
        renewCertificate: false,
      });
    }, signal);
    log.info({ nodeId, role }, 'certificate renewed');
    return { certPem, rootPem: cluster.rootCa.certPem };
  }

  /** The node's certificate, then those that lead from it to the roots that nodes may trust. */
  async #sign(
    cluster: Cluster,
    nodeId: NodeId,
    role: NodeRole,
    csrPem: string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const { rootCa, spec } = cluster;
    const authority = rootCa.rotation ?? rootCa;
    const outside = authoritiesOf(spec.externalCas, authority.certPem, rootCa.certPem);
    const wanted = { csrPem, nodeId, role, clusterId: cluster.id };
    const certPem =
      outside.length > 0
        ? await this.#signOutside(outside, authority.certPem, wanted, signal)
        : await this.#signHere(authority, wanted, spec.nodeCertExpiryNanos);
    return `${certPem}${rootCa.rotation?.crossSignedPem ?? ''}${rootCa.bridgePem}`;
  }

  #signHere(
    authority: CertificateAuthority,
    wanted: WantedCertificate,
    expiryNanos: number,
  ): Promise<string> {
    const { clock, random } = this.#options;
    if (authority.keyPem === '') {
      throw new SkepError(
        'unavailable',
        "issue certificate: the key of the cluster's root is outside, and no external CA is named for it",
      );
    }
    const validityMs = expiryNanos / NANOS_PER_MS;
    return sign({ ...wanted, authority, random, validityMs, nowMs: clock.wallMs() });
  }

  #signOutside(
    authorities: readonly ExternalCa[],
    rootPem: string,
    wanted: WantedCertificate,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const { external, clock, log } = this.#options;
    const failed = ({ url }: ExternalCa, err: unknown): void =>
      log.warn({ url, reason: describeError(err) }, 'external CA did not sign');
    const nowMs = (): number => clock.wallMs();
    return signOutside({ external, authorities, rootPem, nowMs, failed }, wanted, signal);
  }
}

/** Compares with both tokens whatever the first says, so that the time taken tells nothing. */
function roleOfToken(cluster: Cluster, token: string): NodeRole {
  const { worker, manager } = cluster.rootCa.joinTokens;
  const isManager = sameToken(token, manager);
  const isWorker = sameToken(token, worker);
  if (isManager) return 'manager';
  if (isWorker) return 'worker';
  throw new SkepError('invalid-argument', 'a valid join token is necessary to join this cluster');
}

function requireCluster(view: ReadView): Cluster {
  const cluster = view.list('cluster')[0];
  if (!cluster) throw new SkepError('unavailable', 'this manager does not have its cluster yet');
  return cluster;
}

/** PEM */
function signingRootOf({ rootCa }: Cluster): string {
  return (rootCa.rotation ?? rootCa).certPem;
}

function requireNode(view: ReadView, nodeId: NodeId) {
  const node = view.get('node', nodeId);
  if (!node) throw new SkepError('permission-denied', `node ${nodeId} was removed from swarm`);
  return node;
}
