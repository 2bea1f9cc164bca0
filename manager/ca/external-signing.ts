/** Has authorities outside of the cluster sign for a node, and believes of their answer only what it says rightly. */
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { ExternalCa } from '../../common/model/cluster.ts';
import { parseCertificates, verifyNodeCertificate } from '../../common/pki/chain.ts';
import type { ExternalCaClient, WantedCertificate } from '../../common/pki/external-ca.ts';
import { checkRequest } from '../../common/pki/issue.ts';

export type ExternalSigner = Pick<ExternalCaClient, 'sign'>;

export interface ExternalSigning {
  readonly external: ExternalSigner;
  /** those that sign with `rootPem`, in the order in which they are asked */
  readonly authorities: readonly ExternalCa[];
  readonly rootPem: string;
  /** wall clock */
  readonly nowMs: () => number;
  /** one of them did not sign; the next is asked */
  readonly failed: (authority: ExternalCa, err: unknown) => void;
}

/** PEM, by the first that answers with what was asked for. Rejects with `unavailable` when none does. */
export async function signOutside(
  { external, authorities, rootPem, nowMs, failed }: ExternalSigning,
  wanted: WantedCertificate,
  signal?: AbortSignal,
): Promise<string> {
  await checkRequest(wanted.csrPem);
  let failure: unknown = null;
  for (const authority of authorities) {
    try {
      const answer = await external.sign(authority, rootPem, wanted, signal);
      return checkedAnswer(answer, rootPem, wanted, nowMs());
    } catch (err) {
      signal?.throwIfAborted();
      failure = err;
      failed(authority, err);
    }
  }
  throw new SkepError('unavailable', `issue certificate: ${describeError(failure)}`);
}

function checkedAnswer(
  answer: string,
  rootPem: string,
  wanted: WantedCertificate,
  nowMs: number,
): string {
  const [certificate] = parseCertificates(answer);
  const certPem = certificate?.toString() ?? '';
  const { nodeId, role, clusterId } = verifyNodeCertificate(certPem, rootPem, nowMs);
  if (nodeId === wanted.nodeId && role === wanted.role && clusterId === wanted.clusterId) {
    return certPem;
  }
  throw new SkepError('unavailable', `it answered with a certificate for ${role} ${nodeId}`);
}
