/** Certificates for the processes of a benchmark: a cluster as `swarm init` makes it, and more nodes. */
import { SystemRandom } from '../../common/base/random.ts';
import { type NodeId, newId } from '../../common/model/ids.ts';
import { type Identity, identityOf } from '../../common/pki/identity.ts';
import { createRequest, issueNodeCertificate } from '../../common/pki/issue.ts';
import { createCluster, type NewCluster } from '../../manager/ca/bootstrap.ts';

const VALIDITY_MS = 24 * 3600 * 1000;

export class BenchAuthority {
  /** With the identity of the first manager. */
  readonly cluster: NewCluster;
  readonly #random = new SystemRandom();

  private constructor(cluster: NewCluster) {
    this.cluster = cluster;
  }

  static async create(): Promise<BenchAuthority> {
    const random = new SystemRandom();
    return new BenchAuthority(await createCluster({ random, nowMs: Date.now() }));
  }

  /** Identity of one more manager. @param name its node id, which its certificate has as a DNS name too */
  async manager(name: string = newId<NodeId>(this.#random)): Promise<Identity> {
    const { csrPem, keyPem } = await createRequest();
    const { certPem: rootPem, keyPem: rootKeyPem } = this.cluster.cluster.rootCa;
    const nowMs = Date.now();
    const certPem = await issueNodeCertificate({
      authority: { certPem: rootPem, keyPem: rootKeyPem },
      csrPem,
      nodeId: name,
      role: 'manager',
      clusterId: this.cluster.identity.clusterId,
      nowMs,
      validityMs: VALIDITY_MS,
      random: this.#random,
    });
    return identityOf({ certPem, keyPem, rootPem }, nowMs);
  }
}
