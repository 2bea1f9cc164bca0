/** How a node gets its identity: joining with a token, and renewing with the certificate it has. */
import type { Clock } from '../base/clock.ts';
import { hasCode, SkepError } from '../base/errors.ts';
import type { Availability } from '../model/node.ts';
import { certificateDigest, parseCertificate } from '../pki/certificate.ts';
import { type Identity, identityOf } from '../pki/identity.ts';
import { createRequest } from '../pki/issue.ts';
import { parseJoinToken } from '../pki/join-token.ts';
import {
  getRootCertificate,
  type IssueCertificateRequest,
  type IssuedCertificate,
  issueNodeCertificate,
} from './ca-methods.ts';
import type { RpcClient } from './client.ts';
import { anonymousClient } from './pool.ts';

/** The manager asked may itself have to wait for a leader. */
const ISSUE_TIMEOUT_MS = 15_000;

export interface JoinOptions {
  /** `IP:port` of any manager */
  readonly remoteAddress: string;
  readonly token: string;
  /** of the new node; default active */
  readonly availability?: Availability;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/**
 * Joins a cluster: takes the root certificate from the remote manager, compares it with the digest in
 * the token (a wrong one is fatal: the remote is not who the token's giver meant), and has a new key
 * certified. Rejects with `invalid-argument` (`invalid join token`, wrong digest, wrong secret) or
 * `unavailable`.
 */
export async function joinCluster(options: JoinOptions): Promise<Identity> {
  const { remoteAddress, token, clock } = options;
  const signal = options.signal ? { signal: options.signal } : {};
  const rootPem = await fetchRoot(options);
  return withClient(anonymousClient({ address: remoteAddress, rootPem, clock }), (client) =>
    requestIdentity({
      ...{ issue: issuerAt(client), token, rootPem, clock, ...signal },
      availability: options.availability ?? 'active',
    }),
  );
}

/** As `joinCluster`. The first of `remotes` that answers decides, also when it refuses the token. */
export async function joinThroughAny(
  remotes: readonly string[],
  options: Omit<JoinOptions, 'remoteAddress'>,
): Promise<Identity> {
  let failure: unknown = null;
  for (const remoteAddress of remotes) {
    try {
      return await joinCluster({ ...options, remoteAddress });
    } catch (err) {
      if (!hasCode(err, 'unavailable', 'deadline-exceeded')) throw err;
      failure = err;
    }
  }
  throw failure;
}

/** The first half of joining: the root certificate, PEM, if it is the one that the token means. */
export async function fetchRoot(options: Omit<JoinOptions, 'availability'>): Promise<string> {
  const { remoteAddress, clock } = options;
  const { digest } = parseJoinToken(options.token);
  const signal = options.signal ? { signal: options.signal } : {};
  const rootPem = await withClient(
    anonymousClient({ address: remoteAddress, rootPem: null, clock }),
    (client) => client.unary(getRootCertificate, null, signal),
  );
  const received = certificateDigest(parseCertificate(rootPem));
  if (received !== digest) {
    throw new SkepError(
      'invalid-argument',
      `join cluster via ${remoteAddress}: remote CA does not match fingerprint: the token is for ${digest}, the manager has ${received}`,
    );
  }
  return rootPem;
}

/** Has a request certified: by a token, or for the caller with '' for a token. */
export type CertificateIssuer = (
  request: IssueCertificateRequest,
  signal?: AbortSignal,
) => Promise<IssuedCertificate>;

/** @param client of any manager */
export function issuerAt(client: Pick<RpcClient, 'unary'>): CertificateIssuer {
  return (request, signal) =>
    client.unary(issueNodeCertificate, request, {
      timeoutMs: ISSUE_TIMEOUT_MS,
      ...(signal ? { signal } : {}),
    });
}

/** A new certificate for a node that has one, and asks as such; its role is what the cluster now says it is. */
export async function renewIdentity(options: {
  readonly issue: CertificateIssuer;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}): Promise<Identity> {
  const { issue, identity, clock } = options;
  const renewed = await requestIdentity({
    issue,
    token: '',
    availability: 'active',
    rootPem: identity.rootPem,
    clock,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  if (renewed.nodeId !== identity.nodeId || renewed.clusterId !== identity.clusterId) {
    throw new SkepError(
      'internal',
      `renew certificate of node ${identity.nodeId}: it came for node ${renewed.nodeId} of cluster ${renewed.clusterId}`,
    );
  }
  return renewed;
}

/** The second half: a new key, certified. */
export async function requestIdentity(options: {
  readonly issue: CertificateIssuer;
  readonly token: string;
  readonly availability: Availability;
  /** already trusted; what is answered must be valid under it */
  readonly rootPem: string;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}): Promise<Identity> {
  const { issue, token, availability, rootPem, clock, signal } = options;
  const { csrPem, keyPem } = await createRequest();
  const { certPem } = await issue({ csrPem, token, availability }, signal);
  return identityOf({ certPem, keyPem, rootPem }, clock.wallMs());
}

async function withClient<T>(
  client: RpcClient,
  use: (client: RpcClient) => Promise<T>,
): Promise<T> {
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
