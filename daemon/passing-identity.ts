/**
 * An identity that nobody trusts, for a node that only leaves: its own key may be sealed, and what it
 * removes is on this machine.
 */
import type { Clock } from '../common/base/clock.ts';
import type { Random } from '../common/base/random.ts';
import { type Identity, identityOf, type StoredIdentity } from '../common/pki/identity.ts';
import { createRequest, createRoot, issueNodeCertificate } from '../common/pki/issue.ts';

const VALIDITY_MS = 60 * 60 * 1000;

/** Names the same node and cluster, as a worker. */
export async function passingIdentity(
  { nodeId, clusterId }: StoredIdentity,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<Identity> {
  const nowMs = clock.wallMs();
  const authority = await createRoot({ nowMs, random });
  const { csrPem, keyPem } = await createRequest();
  const certPem = await issueNodeCertificate({
    ...{ authority, csrPem, nodeId, clusterId, nowMs, random },
    role: 'worker',
    validityMs: VALIDITY_MS,
  });
  return identityOf({ certPem, keyPem, rootPem: authority.certPem }, nowMs);
}
