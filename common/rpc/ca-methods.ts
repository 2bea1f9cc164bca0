/** The methods of the certificate authority. */
import { skep } from '../../proto/gen/skep.js';
import type { Availability } from '../model/node.ts';
import { availabilityTable } from '../wire/node.ts';
import { text } from '../wire/scalars.ts';
import { codec } from './codec.ts';
import { unary } from './method.ts';

export interface IssueCertificateRequest {
  readonly csrPem: string;
  /** empty = the caller renews the certificate it calls with */
  readonly token: string;
  /** of the new node; not looked at when renewing */
  readonly availability: Availability;
}

export interface IssuedCertificate {
  readonly certPem: string;
  readonly rootPem: string;
}

/** The cluster's root certificate, PEM. */
export const getRootCertificate = unary<null, string>({
  path: '/skep.Ca/GetRootCertificate',
  roles: ['anyone'],
  request: codec<null, skep.GetRootCertificateRequest.$Properties>(
    skep.GetRootCertificateRequest,
    () => ({}),
    () => null,
  ),
  response: codec<string, skep.GetRootCertificateResponse.$Properties>(
    skep.GetRootCertificateResponse,
    (rootPem) => ({ rootPem: text(rootPem) }),
    (m) => m.rootPem ?? '',
  ),
});

/** A node certificate for a join token, or for the certificate that the caller has. */
export const issueNodeCertificate = unary<IssueCertificateRequest, IssuedCertificate>({
  path: '/skep.Ca/IssueNodeCertificate',
  roles: ['anyone'],
  request: codec<IssueCertificateRequest, skep.IssueNodeCertificateRequest.$Properties>(
    skep.IssueNodeCertificateRequest,
    ({ csrPem, token, availability }) => ({
      csrPem: text(csrPem),
      token: text(token),
      availability: availabilityTable.toProto(availability),
    }),
    (m) => ({
      csrPem: m.csrPem ?? '',
      token: m.token ?? '',
      availability: availabilityTable.fromProto(m.availability),
    }),
  ),
  response: codec<IssuedCertificate, skep.IssueNodeCertificateResponse.$Properties>(
    skep.IssueNodeCertificateResponse,
    ({ certPem, rootPem }) => ({ certPem: text(certPem), rootPem: text(rootPem) }),
    (m) => ({ certPem: m.certPem ?? '', rootPem: m.rootPem ?? '' }),
  ),
});
