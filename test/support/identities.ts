/** Certificates for tests: an authority and identities under it. */
import { SeededRandom } from '../../common/base/random.ts';
import type { NodeRole } from '../../common/model/node.ts';
import { type Identity, identityOf } from '../../common/pki/identity.ts';
import {
  type CertificateAuthority,
  createRequest,
  createRoot,
  issueNodeCertificate,
} from '../../common/pki/issue.ts';

const DAY_MS = 24 * 3600 * 1000;

/** A cluster's trust root that hands out identities valid around `nowMs`. */
export class TestAuthority {
  readonly authority: CertificateAuthority;
  readonly clusterId: string;
  readonly #nowMs: number;
  readonly #random: SeededRandom;

  private constructor(
    authority: CertificateAuthority,
    clusterId: string,
    nowMs: number,
    random: SeededRandom,
  ) {
    this.authority = authority;
    this.clusterId = clusterId;
    this.#nowMs = nowMs;
    this.#random = random;
  }

  /** @param unit see `createRoot` */
  static async create(
    nowMs: number,
    clusterId = 'c'.repeat(25),
    unit?: string,
  ): Promise<TestAuthority> {
    const random = new SeededRandom(nowMs);
    const root = await createRoot({ nowMs, random, ...(unit !== undefined && { unit }) });
    return new TestAuthority(root, clusterId, nowMs, random);
  }

  async identity(
    role: NodeRole,
    nodeId: string,
    options: { readonly clusterId?: string; readonly validityMs?: number } = {},
  ): Promise<Identity> {
    const { csrPem, keyPem } = await createRequest();
    const certPem = await issueNodeCertificate({
      authority: this.authority,
      csrPem,
      nodeId,
      role,
      clusterId: options.clusterId ?? this.clusterId,
      nowMs: this.#nowMs,
      validityMs: options.validityMs ?? 90 * DAY_MS,
      random: this.#random,
    });
    return identityOf({ certPem, keyPem, rootPem: this.authority.certPem }, this.#nowMs);
  }
}
