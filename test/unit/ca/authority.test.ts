import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { DEFAULT_CLUSTER_SPEC, type ExternalCa } from '../../../common/model/cluster.ts';
import {
  certificateDigest,
  notAfterMs,
  parseCertificate,
} from '../../../common/pki/certificate.ts';
import { verifyNodeCertificate } from '../../../common/pki/chain.ts';
import type { WantedCertificate } from '../../../common/pki/external-ca.ts';
import type { Identity } from '../../../common/pki/identity.ts';
import { identityOf } from '../../../common/pki/identity.ts';
import {
  type CertificateAuthority,
  createRequest,
  createRoot,
  issueNodeCertificate,
} from '../../../common/pki/issue.ts';
import { createJoinToken } from '../../../common/pki/join-token.ts';
import { LeaderCaller } from '../../../common/rpc/leader.ts';
import { anonymousPeer, type Peer } from '../../../common/rpc/peer.ts';
import { Authority } from '../../../manager/ca/authority.ts';
import { createCluster } from '../../../manager/ca/bootstrap.ts';
import { makeStore } from '../../support/store.ts';

const DAY_MS = 24 * 3600 * 1000;

const external = { sign: () => Promise.reject(new Error('nobody was named')) };

async function start() {
  const made = makeStore();
  const { store, clock, random } = made;
  const created = await createCluster({ random, nowMs: clock.wallMs() });
  await store.update((tx) => {
    tx.create('cluster', created.cluster);
    tx.create('node', created.node);
  });
  const leader = new LeaderCaller({
    clock,
    self: () => stranger,
    locator: { isLeader: () => true, leaderAddress: () => null, onChange: () => () => {} },
    pool: { client: () => Promise.reject() as never },
  });
  const authority = new Authority({ store, leader, external, clock, random, log: silentLogger });
  const issue = async (peer: Peer, token: string): Promise<Identity> => {
    const { csrPem, keyPem } = await createRequest();
    const request = { csrPem, token, availability: 'pause' as const };
    const { certPem, rootPem } = await authority.issue(request, { peer, forwarded: false });
    return identityOf({ certPem, keyPem, rootPem }, clock.wallMs());
  };
  return { ...made, ...created, authority, issue };
}

const stranger = anonymousPeer('10.0.0.9');

function peerOf(identity: Identity): Peer {
  const { nodeId, role, clusterId } = identity;
  return { nodeId, role, clusterId, address: '10.0.0.9' };
}

describe('a new cluster', () => {
  test('has a first manager whose certificate its root issued', async () => {
    const { cluster, node, identity, authority } = await start();
    expect(identity).toMatchObject({ nodeId: node.id, role: 'manager', clusterId: cluster.id });
    expect(cluster.rootCa.joinTokens.worker).toMatch(`SWMTKN-1-${cluster.rootCa.certDigest}-`);
    expect(cluster.rootCa.joinTokens.manager).not.toBe(cluster.rootCa.joinTokens.worker);
    expect(authority.rootCertificate()).toBe(identity.rootPem);
    expect(node).toMatchObject({ role: 'manager', spec: { desiredRole: 'manager' } });
  });

  test.each([
    [{ subnetSize: 30 }, 'subnet size 30 is not in 8..29'],
    [{ defaultAddressPool: ['10.0.0.0/16'], subnetSize: 15 }, 'subnet size 15 is not in 16..29'],
    [{ defaultAddressPool: ['10.0.0.0/8', '10.1.0.0/16'] }, 'overlaps another'],
    [{ defaultAddressPool: ['fd00::/8'] }, 'not an IPv4 subnet'],
    [{ dataPathPort: 80 }, 'data path port 80 is not in 1024..49151'],
    [{ spec: { ...DEFAULT_CLUSTER_SPEC, name: 'x' } }, 'must be named "default"'],
    [{ spec: { ...DEFAULT_CLUSTER_SPEC, nodeCertExpiryNanos: 1 } }, 'minimum certificate expiry'],
  ])('is not made with %j', async (settings, message) => {
    const { random, clock } = makeStore();
    await expect(createCluster({ random, nowMs: clock.wallMs(), ...settings })).rejects.toThrow(
      message,
    );
  });
});

describe('a new cluster with external authorities', () => {
  const made = makeStore();
  const nowMs = made.clock.wallMs();
  const { random } = made;
  const rootOf = (unit: string) => createRoot({ nowMs, random, unit });
  const named = (...roots: string[]): ExternalCa[] =>
    roots.map((certPem, i) => ({
      ...{ protocol: 'cfssl', url: `https://ca${i}.example/sign`, options: {}, certPem },
    }));
  /** Signs with `root` what it is asked for by the first that is no other's. */
  const create = (
    externalCas: readonly ExternalCa[],
    root: CertificateAuthority,
    patch: Partial<WantedCertificate> = {},
  ) => {
    const shown: Identity[] = [];
    const failed: string[] = [];
    const creating = createCluster({
      ...{ random, nowMs, spec: { ...DEFAULT_CLUSTER_SPEC, externalCas } },
      external: {
        nowMs: () => nowMs,
        failed: ({ url }, err) => failed.push(`${url}: ${err}`),
        signer: (identity) => {
          shown.push(identity);
          return {
            sign: async (ca, _, wanted) => {
              if (ca.url.includes('ca0') && externalCas.length > 1) throw new Error('ca0 is ill');
              const validityMs = 10 * DAY_MS;
              const parts = { ...wanted, ...patch, authority: root, nowMs, validityMs, random };
              return issueNodeCertificate(parts);
            },
          };
        },
      },
    });
    return { creating, shown, failed };
  };

  test('trusts their root from the start, and has no key of it', async () => {
    const root = await rootOf('outside');
    const { creating, shown, failed } = create(named(root.certPem, root.certPem), root);
    const { cluster, node, identity } = await creating;
    expect(failed).toEqual(['https://ca0.example/sign: Error: ca0 is ill']);
    const certPem = parseCertificate(root.certPem).toString();
    expect(cluster.rootCa).toMatchObject({ certPem, keyPem: '', rotation: null, bridgePem: '' });
    expect(cluster.rootCa.joinTokens.worker).toMatch(
      `SWMTKN-1-${certificateDigest(parseCertificate(certPem))}-`,
    );
    expect(identity).toMatchObject({ nodeId: node.id, role: 'manager', rootPem: certPem });
    expect(verifyNodeCertificate(identity.certPem, certPem, nowMs).clusterId).toBe(cluster.id);
    // Who asked them showed the same names, by a root that nobody else knows.
    expect(shown).toMatchObject([{ nodeId: node.id, clusterId: cluster.id }]);
    expect(shown[0]!.rootPem).not.toBe(certPem);
  });

  test('is not made when none of them signs, or another thing', async () => {
    const [root, other] = [await rootOf('outside'), await rootOf('other')];
    await expect(create(named(root.certPem), other).creating).rejects.toMatchObject({
      code: 'unavailable',
    });
    const { creating } = create(named(root.certPem), root, { role: 'worker' });
    await expect(creating).rejects.toThrow('it answered with a certificate for worker');
  });

  test('is not made without the one root that they sign for, or with one that ends', async () => {
    const [root, other] = [await rootOf('outside'), await rootOf('other')];
    const old = await createRoot({ nowMs: nowMs - (20 * 365 - 300) * DAY_MS, random });
    await expect(create(named(''), root).creating).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('CAConfig.ExternalCAs[0].CACert: a new cluster needs'),
    });
    const both = named(root.certPem, other.certPem);
    await expect(create(both, root).creating).rejects.toThrow('must sign for one root');
    await expect(create(named(old.certPem), old).creating).rejects.toThrow('expires too soon');
  });
});

describe('a join token', () => {
  test.each(['worker', 'manager'] as const)('of a %s admits one with that role', async (role) => {
    const { cluster, store, issue } = await start();
    const identity = await issue(stranger, cluster.rootCa.joinTokens[role]);
    expect(identity).toMatchObject({ role, clusterId: cluster.id });
    const node = store.view((view) => view.require('node', identity.nodeId));
    expect(node).toMatchObject({
      role,
      spec: { desiredRole: role, availability: 'pause' },
      status: { state: 'unknown', address: '10.0.0.9' },
      description: null,
    });
  });

  test('with another secret is refused, and nothing is created', async () => {
    const { cluster, store, random, issue } = await start();
    const wrong = createJoinToken(cluster.rootCa.certPem, random);
    await expect(issue(stranger, wrong)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: 'a valid join token is necessary to join this cluster',
    });
    await expect(issue(stranger, 'SWMTKN-1-x')).rejects.toThrow(/^invalid join token$/);
    expect(store.view((view) => view.count('node'))).toBe(1);
  });
});

describe('a node with a certificate', () => {
  test('gets the role that the store says, for the time that the cluster says', async () => {
    const { cluster, store, clock, issue } = await start();
    const first = await issue(stranger, cluster.rootCa.joinTokens.worker);
    await store.update((tx) => {
      const node = tx.require('node', first.nodeId);
      tx.update('node', { ...node, role: 'manager' });
      tx.update('cluster', {
        ...cluster,
        spec: { ...cluster.spec, nodeCertExpiryNanos: 7 * DAY_MS * 1e6 },
      });
    });
    await clock.advance(40 * DAY_MS);
    const longest = () =>
      store.view((view) => view.require('node', first.nodeId)).certificatesEndMs;
    const firstEndMs = longest();
    const renewed = await issue(peerOf(first), '');
    // The first one lasts longer than the shorter one that came after it.
    expect(longest()).toBe(firstEndMs);
    expect(firstEndMs).toBe(notAfterMs(parseCertificate(first.certPem)));
    expect(renewed).toMatchObject({ nodeId: first.nodeId, role: 'manager' });
    await clock.advance(6 * DAY_MS);
    expect(() => identityOf(renewed, clock.wallMs())).not.toThrow();
    await clock.advance(2 * DAY_MS);
    expect(() => identityOf(renewed, clock.wallMs())).toThrow('valid from');
  });

  test('that was removed gets none, whatever token it shows', async () => {
    const { cluster, store, issue } = await start();
    const first = await issue(stranger, cluster.rootCa.joinTokens.worker);
    await store.update((tx) => tx.remove('node', first.nodeId));
    await expect(issue(peerOf(first), cluster.rootCa.joinTokens.manager)).rejects.toMatchObject({
      code: 'permission-denied',
      message: `node ${first.nodeId} was removed from swarm`,
    });
  });
});
