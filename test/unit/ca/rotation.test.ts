import { createPublicKey, generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { parseCertificates, verifyNodeCertificate } from '../../../common/pki/chain.ts';
import { identityOf } from '../../../common/pki/identity.ts';
import {
  type CertificateAuthority,
  createRoot,
  crossSign,
  issueNodeCertificate,
} from '../../../common/pki/issue.ts';
import { settle } from '../../support/fake-clock.ts';
import { type ExternalCas, rotationScene } from '../../support/rotation-scene.ts';

const DAY_MS = 24 * 3600 * 1000;
const NOW_MS = Date.UTC(2026, 0, 1);
const random = new SeededRandom(5);

type Scene = Awaited<ReturnType<typeof rotationScene>>;
let it: Scene;

afterEach(() => it.stop());

async function scene(workers: number, external?: ExternalCas): Promise<Scene> {
  it = await rotationScene(external);
  await it.report(it.node(it.identity.nodeId).id);
  for (let i = 0; i < workers; i++) await it.join('worker');
  await settle();
  return it;
}

const rootNamed = (unit: string, nowMs = NOW_MS) => createRoot({ nowMs, random, unit });

async function rotateToTheEnd(): Promise<void> {
  while ((await it.obey()) > 0);
}

describe('a rotation of the trust root', () => {
  test('ends when every node uses a certificate of the next root; tokens are others then', async () => {
    const before = (await scene(2)).cluster();
    const answered = await it.rotate();
    const rotation = it.cluster().rootCa.rotation!;
    expect(answered.rootCa).toMatchObject({ keyPem: '', rotation: { keyPem: '' } });
    expect(it.cluster().rootCa.certPem).toBe(before.rootCa.certPem);
    expect(new X509Certificate(rotation.certPem).subject).toMatch(
      /^OU=root-[0-9a-f]{8}\nCN=swarm-ca$/,
    );
    await it.obey(it.identity.nodeId);
    expect(it.cluster().rootCa.rotation).not.toBeNull();
    expect(it.cluster().rootCa.joinTokens).toEqual(before.rootCa.joinTokens);
    await rotateToTheEnd();
    const { rootCa } = it.cluster();
    expect(rootCa).toMatchObject({
      certPem: rotation.certPem,
      keyPem: rotation.keyPem,
      rotation: null,
    });
    expect(rootCa.joinTokens.worker).toMatch(`SWMTKN-1-${rootCa.certDigest}-`);
    expect(rootCa.joinTokens.worker).not.toBe(before.rootCa.joinTokens.worker);
    expect(it.store.view((view) => view.list('node')).map((one) => one.renewCertificate)).toEqual([
      false,
      false,
      false,
    ]);
  });

  test('leaves certificates that nodes trust which know one of the two roots', async () => {
    const before = (await scene(0)).cluster();
    await it.rotate();
    const during = await it.issue(null, before.rootCa.joinTokens.worker);
    expect(during.rootPem).toBe(before.rootCa.certPem);
    await it.report(during.nodeId);
    await rotateToTheEnd();
    const { rootCa } = it.cluster();
    const after = await it.issue(during.nodeId, '');
    for (const { certPem } of [during, after]) {
      for (const root of [before.rootCa.certPem, rootCa.certPem]) {
        expect(verifyNodeCertificate(certPem, root, NOW_MS).nodeId).toBe(during.nodeId);
      }
      const other = await rootNamed('other');
      expect(() => verifyNodeCertificate(certPem, other.certPem, NOW_MS)).toThrow('not issued');
    }
  });

  test('waits for a node that is away, and for one that joined before it and was never heard of', async () => {
    await scene(1);
    const silent = await it.issue(null, it.cluster().rootCa.joinTokens.worker);
    await it.rotate();
    await it.obey(it.identity.nodeId);
    for (const { id } of it.store.view((view) => view.list('node'))) {
      if (id !== silent.nodeId) await it.obey(id);
    }
    expect(it.cluster().rootCa.rotation).not.toBeNull();
    await it.store.update((tx) => tx.remove('node', silent.nodeId));
    await settle();
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test('goes on when a round begins after a node was removed, and before the feed told it', async () => {
    await scene(40);
    await it.rotate();
    await settle();
    const [first, second] = it.store.view((view) => view.list('node').map(({ id }) => id));
    const removed = (id: typeof first) => it.store.update((tx) => tx.remove('node', id!));
    await removed(first); // which leaves a place
    it.proposer.hold = true; // so the one who gets it is told while the next round begins
    await settle();
    expect(it.proposer.held).toBe(1);
    await it.clock.advance(3_000);
    const gone = removed(second);
    it.proposer.hold = false;
    it.proposer.release();
    await gone;
    await rotateToTheEnd();
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test('leaves no timer behind when its leader stops in the middle of a write', async () => {
    await scene(2);
    it.proposer.hold = true;
    const rotating = it.rotate();
    while (it.proposer.held === 0) await settle();
    it.proposer.release();
    await rotating;
    await settle();
    expect(it.proposer.held).toBe(1); // nodes are being told
    const stopping = it.stop();
    it.proposer.release();
    await stopping;
    expect(it.clock.pending).toBe(0);
  });

  test('goes on under another leader', async () => {
    await scene(2);
    await it.rotate();
    await it.obey(it.identity.nodeId);
    await it.changeLeader();
    await rotateToTheEnd();
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test('tells 30 nodes at a time', async () => {
    await scene(40);
    await it.rotate();
    await settle();
    const told = () =>
      it.store.view((view) => view.list('node')).filter((one) => one.renewCertificate).length;
    expect(told()).toBe(30);
    await it.clock.advance(3_000);
    await settle();
    expect(told()).toBe(41);
    await rotateToTheEnd();
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test('tells a node again that did not take up what it was given, after a while', async () => {
    await scene(0);
    await it.rotate();
    await settle();
    const { nodeId } = it.identity;
    const before = it.identities.get(nodeId)!;
    await it.issue(nodeId, '');
    it.identities.set(nodeId, before); // the daemon ended before it was on its disk
    await it.report(nodeId);
    await settle();
    expect(it.node(nodeId).renewCertificate).toBe(false);
    for (let i = 0; i < 6; i++) {
      await it.clock.advance(3_000);
      await settle();
    }
    expect(it.node(nodeId).renewCertificate).toBe(true);
  });

  test('is replaced by the next one, and called off by the present root', async () => {
    const before = (await scene(1)).cluster();
    await it.rotate();
    const first = it.cluster().rootCa.rotation!;
    await it.obey(it.identity.nodeId);
    await it.rotate();
    const second = it.cluster().rootCa.rotation!;
    expect(second.certPem).not.toBe(first.certPem);
    const { certPem, keyPem } = before.rootCa;
    await it.rotate({ certPem, keyPem });
    expect(it.cluster().rootCa).toMatchObject({ certPem, rotation: null });
    await rotateToTheEnd();
    for (const { certPem: own } of it.identities.values()) {
      expect(new X509Certificate(own).issuer).toBe('CN=swarm-ca');
    }
  });

  test('may follow another: chains do not grow with them', async () => {
    await scene(1);
    for (let i = 0; i < 3; i++) {
      await it.rotate();
      await rotateToTheEnd();
      for (const [id, identity] of it.identities) {
        const { certPem: rootPem } = it.cluster().rootCa;
        it.identities.set(id, identityOf({ ...identity, rootPem }, NOW_MS));
        expect(parseCertificates(identity.certPem).length).toBeLessThanOrEqual(3);
      }
    }
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test.each(['rsa', 'secp384r1'])(
    "goes over to a root of one's own with a key of type %s",
    async (type) => {
      await scene(1);
      const own = await ownRoot(type);
      await it.rotate(own);
      await rotateToTheEnd();
      expect(new X509Certificate(it.cluster().rootCa.certPem).raw).toEqual(
        new X509Certificate(own.certPem).raw,
      );
      const joined = await it.issue(null, it.cluster().rootCa.joinTokens.manager);
      expect(verifyNodeCertificate(joined.certPem, own.certPem, NOW_MS).role).toBe('manager');
    },
  );
});

/** As `openssl req -x509` makes them. */
async function ownRoot(type: string): Promise<CertificateAuthority> {
  const { privateKey } =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: type });
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const algorithm =
    type === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      : { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  const publicDer = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const keys = {
    privateKey: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', publicDer, algorithm, true, ['verify']),
  };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: 'C=CH, O=Example, CN=Example Root',
      notBefore: new Date(NOW_MS - DAY_MS),
      notAfter: new Date(NOW_MS + 3650 * DAY_MS),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certPem: certificate.toString('pem'), keyPem };
}

describe('another trust root is refused', () => {
  const BARE = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

  test.each<[string, () => Promise<CertificateAuthority>, string]>([
    ['without a certificate', async () => ({ certPem: '', keyPem: 'k' }), 'CA cert must also be'],
    ['that is no certificate', async () => ({ certPem: 'x', keyPem: 'k' }), 'could not parse'],
    ['that is a broken one', async () => ({ certPem: BARE, keyPem: 'k' }), 'could not parse'],
    [
      'of two certificates',
      async () => {
        const [a, b] = [await rootNamed('a'), await rootNamed('b')];
        return { certPem: a.certPem + b.certPem, keyPem: a.keyPem };
      },
      'cannot contain multiple certificates',
    ],
    [
      'with the key of another',
      async () => ({ ...(await rootNamed('a')), keyPem: (await rootNamed('b')).keyPem }),
      'the signing CA key is not that of the signing CA certificate',
    ],
    [
      'with what is no key',
      async () => ({ ...(await rootNamed('a')), keyPem: 'SECRET' }),
      'could not parse the signing CA key',
    ],
    [
      'that ends within a year',
      () => rootNamed('a', NOW_MS - (20 * 365 - 300) * DAY_MS),
      'expires too soon',
    ],
    ['that is over', () => rootNamed('a', NOW_MS - 21 * 365 * DAY_MS), 'expires too soon'],
    ['that is not valid yet', () => rootNamed('a', NOW_MS + DAY_MS), 'is not valid before'],
    [
      'of a node',
      async () => ({ certPem: it.identity.certPem, keyPem: it.identity.keyPem }),
      'is not that of an authority',
    ],
    [
      'that others signed',
      async () => {
        const [a, b] = [await rootNamed('a'), await rootNamed('b')];
        return { ...b, certPem: await crossSign({ authority: a, certPem: b.certPem, random }) };
      },
      'is not self-signed',
    ],
    [
      'named as the present one',
      () => createRoot({ nowMs: NOW_MS, random }),
      'has the subject of the present one (CN=swarm-ca)',
    ],
    [
      'without a key and without an external CA',
      async () => ({ ...(await rootNamed('a')), keyPem: '' }),
      'at least one valid, reachable external CA corresponding to the desired CA certificate',
    ],
  ])('%s', async (_, pair, words) => {
    await scene(0);
    const before = it.cluster();
    const failure = await it.rotate(await pair()).catch((err: unknown) => err);
    expect(failure).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(words),
    });
    expect(String(failure)).not.toContain('SECRET');
    expect(it.cluster()).toEqual(before);
  });

  test('by a client that read another version', async () => {
    await scene(0);
    const { meta, spec } = it.cluster();
    const forced = { ...spec, forceRotate: 1 };
    await expect(it.api.updateCluster(meta.version - 1, forced)).rejects.toMatchObject({
      code: 'version-conflict',
    });
  });

  test('not by a client that knows nothing of it: that one changes nothing', async () => {
    await scene(0);
    await it.rotate();
    await rotateToTheEnd();
    const { meta, spec, rootCa } = it.cluster();
    await it.api.updateCluster(meta.version, { ...spec, forceRotate: 0 });
    expect(it.cluster()).toMatchObject({ rootCa, spec: { forceRotate: 1 } });
  });
});

describe('an external authority', () => {
  const url = 'https://ca.example/sign';

  /** Signs with the roots that it was given, by their certificate. */
  function outside(
    roots: readonly CertificateAuthority[],
    days = 30,
  ): ExternalCas & { asked: number } {
    const keyOf = (rootPem: string): CertificateAuthority => {
      const { raw } = new X509Certificate(rootPem);
      const root = roots.find(({ certPem }) => new X509Certificate(certPem).raw.equals(raw));
      if (!root) throw new Error('another root is not here');
      return root;
    };
    const external = {
      asked: 0,
      check: async (_: unknown, rootPem: string) => void keyOf(rootPem),
      async sign(_: unknown, rootPem: string, wanted: Parameters<ExternalCas['sign']>[2]) {
        external.asked++;
        const authority = keyOf(rootPem);
        const parts = { ...wanted, authority, nowMs: NOW_MS, validityMs: days * DAY_MS, random };
        return issueNodeCertificate(parts);
      },
      crossSign: (_: unknown, rootPem: string, { certPem }: { certPem: string }) =>
        crossSign({ authority: keyOf(rootPem), certPem, random }),
    };
    return external;
  }

  const named = (certPem: string) => [{ protocol: 'cfssl' as const, url, options: {}, certPem }];

  test('signs for the root that it is named for, and a rotation leads there and back', async () => {
    const root = await rootNamed('outside');
    const external = outside([root]);
    await scene(1, external);
    await it.rotate({ ...root, keyPem: '' }, named(root.certPem));
    await rotateToTheEnd();
    expect(it.cluster().rootCa).toMatchObject({ rotation: null, keyPem: '' });
    expect(external.asked).toBe(2);
    const joined = await it.issue(null, it.cluster().rootCa.joinTokens.worker);
    expect(joined.role).toBe('worker');
    await it.report(joined.nodeId);
    await it.rotate(undefined, named(root.certPem));
    await rotateToTheEnd();
    expect(it.cluster().rootCa.rotation).toBeNull();
    expect(it.cluster().rootCa.keyPem).not.toBe('');
    expect(external.asked).toBe(3);
  });

  test('is not replaced by another one, nor taken away', async () => {
    const [a, b] = [await rootNamed('a'), await rootNamed('b')];
    await scene(0, outside([a, b]));
    await it.rotate({ ...a, keyPem: '' }, named(a.certPem));
    await rotateToTheEnd();
    const both = [...named(a.certPem), ...named(b.certPem)];
    await expect(it.rotate({ ...b, keyPem: '' }, both)).rejects.toThrow(
      'rotating from one external CA to a different external CA is not supported',
    );
    const { meta, spec } = it.cluster();
    await expect(it.api.updateCluster(meta.version, { ...spec, externalCas: [] })).rejects.toThrow(
      'corresponding to the current CA certificate',
    );
  });

  test('is noticed at once when it is named: what it signs is as long as it likes', async () => {
    const roots: CertificateAuthority[] = [];
    await scene(1, outside(roots, 400));
    roots.push(it.cluster().rootCa);
    const { meta, spec } = it.cluster();
    await it.api.updateCluster(meta.version, { ...spec, externalCas: named('') });
    await settle();
    await it.issue(it.identity.nodeId, '');
    await it.report(it.identity.nodeId);
    expect(await it.obey()).toBe(0);
    const { meta: later } = it.cluster();
    await it.api.updateCluster(later.version, spec);
    await settle();
    expect(await it.obey()).toBe(1);
  });

  test('of another root says nothing of what the cluster signs itself', async () => {
    const other = await rootNamed('other');
    await scene(1, outside([other]));
    const { meta, spec } = it.cluster();
    const nodeCertExpiryNanos = 30 * DAY_MS * 1e6;
    const externalCas = named(other.certPem);
    await it.api.updateCluster(meta.version, { ...spec, nodeCertExpiryNanos, externalCas });
    expect(await it.obey()).toBe(2);
    expect(await it.obey()).toBe(0);
  });

  test('that signs while the root is rotated has signed in vain', async () => {
    const roots: CertificateAuthority[] = [];
    const external = outside(roots);
    const { sign } = external;
    await scene(0, {
      ...external,
      async sign(ca, rootPem, wanted) {
        const certPem = await sign(ca, rootPem, wanted);
        if (it.cluster().rootCa.rotation === null) await it.rotate(undefined, named(rootPem));
        return certPem;
      },
    });
    roots.push(it.cluster().rootCa);
    const { meta, spec } = it.cluster();
    await it.api.updateCluster(meta.version, { ...spec, externalCas: named('') });
    const { nodeId } = it.identity;
    const before = it.node(nodeId).certificate;
    await expect(it.issue(nodeId, '')).rejects.toMatchObject({
      code: 'unavailable',
      message: `renew certificate of node ${nodeId}: another root signs by now`,
    });
    expect(it.node(nodeId).certificate).toEqual(before);
    await rotateToTheEnd();
    expect(it.cluster().rootCa.rotation).toBeNull();
  });

  test('whose answer names somebody else is not believed', async () => {
    const root = await rootNamed('outside');
    const external = outside([root]);
    const { sign } = external;
    await scene(0, {
      ...external,
      sign: (ca, rootPem, wanted) => sign(ca, rootPem, { ...wanted, role: 'manager' }),
    });
    await it.rotate({ ...root, keyPem: '' }, named(root.certPem));
    const { worker } = it.cluster().rootCa.joinTokens;
    await expect(it.issue(null, worker)).rejects.toThrow('a certificate for manager');
  });

  test.each([
    [{ url: 'http://ca.example' }, 'is not an https URL'],
    [{ url: 'ca.example' }, 'is not an https URL'],
    [{ options: { profile: 'x' } }, 'ExternalCAs[0].Options.profile'],
    [{ certPem: 'x' }, 'ExternalCAs[0].CACert'],
  ])('is refused with %j', async (change, words) => {
    await scene(0);
    const { meta, spec } = it.cluster();
    const ca = { ...named('')[0]!, ...change };
    await expect(
      it.api.updateCluster(meta.version, { ...spec, externalCas: [ca] }),
    ).rejects.toThrow(words);
  });
});

describe('the validity of certificates', () => {
  test('is taken up at once when it is shorter, and with the next certificate when it is longer', async () => {
    await scene(1);
    const expire = async (days: number): Promise<void> => {
      const { meta, spec } = it.cluster();
      const nodeCertExpiryNanos = days * DAY_MS * 1e6;
      await it.api.updateCluster(meta.version, { ...spec, nodeCertExpiryNanos });
      await settle();
    };
    await expire(400);
    expect(it.cluster().spec.nodeCertExpiryNanos).toBe(400 * DAY_MS * 1e6);
    expect(await it.obey()).toBe(0);
    await expire(30);
    expect(await it.obey()).toBe(2);
    expect(await it.obey()).toBe(0);
  });
});
