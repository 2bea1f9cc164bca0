/** A cluster with an authority, a control API and a reconciler over one store, and nodes that do as they are told. */
import { silentLogger } from '../../common/base/log.ts';
import type { Cluster, ExternalCa } from '../../common/model/cluster.ts';
import type { Node, NodeRole } from '../../common/model/node.ts';
import type { WantedCertificate } from '../../common/pki/external-ca.ts';
import { type Identity, identityOf, tlsInfoOf } from '../../common/pki/identity.ts';
import { type CertificateAuthority, createRequest } from '../../common/pki/issue.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { Authority } from '../../manager/ca/authority.ts';
import { createCluster } from '../../manager/ca/bootstrap.ts';
import { CertificateReconciler } from '../../manager/ca/certificate-reconciler.ts';
import type { ExternalAuthorities } from '../../manager/controlapi/trust-root.ts';
import { aNodeDescription } from './builders.ts';
import { makeControlApi } from './control-api.ts';
import { settle } from './fake-clock.ts';
import { makeStore } from './store.ts';

const stranger = anonymousPeer('10.0.0.9');

export interface ExternalCas extends ExternalAuthorities {
  sign(ca: ExternalCa, rootPem: string, wanted: WantedCertificate): Promise<string>;
}

const nobody: ExternalCas = {
  check: () => Promise.reject(new Error('nobody listens')),
  sign: () => Promise.reject(new Error('nobody listens')),
  crossSign: () => Promise.reject(new Error('nobody listens')),
};

export async function rotationScene(external: ExternalCas = nobody) {
  const made = makeStore();
  const { store, clock, random } = made;
  const created = await createCluster({ random, nowMs: clock.wallMs() });
  await store.update((tx) => {
    tx.create('cluster', created.cluster);
    tx.create('node', created.node);
  });
  const { api } = await makeControlApi(made, external);
  const leader = new LeaderCaller({
    clock,
    self: () => stranger,
    locator: { isLeader: () => true, leaderAddress: () => null, onChange: () => () => {} },
    pool: { client: () => Promise.reject() as never },
  });
  const authority = new Authority({ store, leader, external, clock, random, log: silentLogger });
  const identities = new Map<string, Identity>([[created.node.id, created.identity]]);
  let reconciler = lead();

  function lead(): CertificateReconciler {
    const onFailure = (err: unknown): void => {
      throw err;
    };
    const next = new CertificateReconciler({ store, clock, random, log: silentLogger, onFailure });
    void next.start();
    return next;
  }

  const cluster = (): Cluster => store.view((view) => view.list('cluster')[0]!);
  const node = (id: string): Node => store.view((view) => view.require('node', id as Node['id']));

  /** A certificate for the caller, or by a token for a new node. */
  async function issue(id: string | null, token: string): Promise<Identity> {
    const { csrPem, keyPem } = await createRequest();
    const known = id === null ? null : identities.get(id)!;
    const peer = known
      ? { nodeId: known.nodeId, role: known.role, clusterId: known.clusterId, address: '' }
      : stranger;
    const request = { csrPem, token, availability: 'active' as const };
    const { certPem } = await authority.issue(request, { peer, forwarded: false });
    const rootPem = known?.rootPem ?? cluster().rootCa.certPem;
    const identity = identityOf({ certPem, keyPem, rootPem }, clock.wallMs());
    identities.set(identity.nodeId, identity);
    return identity;
  }

  /** Its agent's session begins, or its description changed. */
  async function report(id: string): Promise<void> {
    await store.update((tx) => {
      const stored = tx.require('node', id as Node['id']);
      const tlsInfo = tlsInfoOf(identities.get(id)!);
      const description = aNodeDescription({ hostname: id, tlsInfo });
      const status = { state: 'ready' as const, message: '', address: '' };
      tx.update('node', { ...stored, description, status });
    });
  }

  return {
    ...{ ...made, ...created, api, authority, identities, cluster, node, issue, report },
    async join(role: NodeRole): Promise<string> {
      const { nodeId } = await issue(null, cluster().rootCa.joinTokens[role]);
      await report(nodeId);
      return nodeId;
    },
    /** Another leader takes over. */
    async changeLeader(): Promise<void> {
      await reconciler.stop();
      reconciler = lead();
      await settle();
    },
    /** What nodes are told to do they do. @returns how many did */
    async obey(only?: string): Promise<number> {
      await settle();
      const told = store.view((view) => view.list('node')).filter((one) => one.renewCertificate);
      const obedient = told.filter(({ id }) => only === undefined || id === only);
      for (const { id } of obedient) {
        await issue(id, '');
        await report(id);
      }
      await settle();
      return obedient.length;
    },
    /** As `skep swarm ca --rotate`, with a pair or without. */
    rotate(pair?: CertificateAuthority, externalCas?: readonly ExternalCa[]): Promise<Cluster> {
      const { meta, spec } = cluster();
      const forceRotate = pair ? spec.forceRotate : spec.forceRotate + 1;
      const wanted = { ...spec, forceRotate, externalCas: externalCas ?? spec.externalCas };
      return api.updateCluster(meta.version, wanted, {}, undefined, pair);
    },
    stop: () => reconciler.stop(),
  };
}
