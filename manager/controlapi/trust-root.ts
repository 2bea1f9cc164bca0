/** What an update of the cluster asks of its trust root: Swarm's rules for it, and the beginning of a rotation. */
import { X509Certificate } from 'node:crypto';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { Cluster, ExternalCa, RootRotation } from '../../common/model/cluster.ts';
import { checkNextRoot } from '../../common/pki/authority-pair.ts';
import { parseCertificate } from '../../common/pki/certificate.ts';
import { isIssuedBy, sameCertificate } from '../../common/pki/chain.ts';
import { authoritiesOf, type ExternalCaClient } from '../../common/pki/external-ca.ts';
import { createRoot, crossSign } from '../../common/pki/issue.ts';
import type { UpdateClusterRequest } from '../../common/rpc/control-methods.ts';

export type ExternalAuthorities = Pick<ExternalCaClient, 'check' | 'crossSign'>;

export interface TrustRootEnvironment {
  /** wall clock */
  readonly nowMs: number;
  readonly random: Random;
  readonly external: ExternalAuthorities;
}

type RootCa = Cluster['rootCa'];
/** A root with its key; '' = external authorities have it. */
type Pair = Pick<RootCa, 'certPem' | 'keyPem'>;

const UNIT_BYTES = 4;

/**
 * The trust root as it is after the update: the present one, or with a rotation that begins, goes on with another key or is
 * called off. Throws `invalid-argument`; rejects with `unavailable` when an external authority does not do what is
 * needed of it. Writes nothing.
 */
export async function planRootCa(
  cluster: Cluster,
  request: Pick<UpdateClusterRequest, 'spec' | 'signingCertPem' | 'signingKeyPem'>,
  environment: TrustRootEnvironment,
  signal?: AbortSignal,
): Promise<RootCa> {
  const { rootCa } = cluster;
  const { spec, signingCertPem, signingKeyPem } = request;
  const lastForcedRotation = spec.forceRotate;
  const plan = new TrustRootPlan(cluster, spec.externalCas, environment, signal);
  if (signingCertPem === '') {
    if (signingKeyPem !== '') {
      throw invalid(
        'if a signing CA key is provided, the signing CA cert must also be provided (CAConfig.SigningCACert)',
      );
    }
    if (lastForcedRotation === rootCa.lastForcedRotation) {
      await plan.requireSigners();
      return rootCa;
    }
    return { ...(await plan.begin(await nextRoot(environment))), lastForcedRotation };
  }
  const next = plan.checkNext(signingCertPem, signingKeyPem);
  if (next.keyPem === '') await plan.requireExternal(next.certPem, 'desired');
  const { keyPem } = next;
  if (plan.isPresent(next.certPem))
    return { ...rootCa, keyPem, rotation: null, lastForcedRotation };
  const { rotation } = rootCa;
  if (rotation && sameRoot(rotation.certPem, next.certPem)) {
    return { ...rootCa, rotation: { ...rotation, keyPem }, lastForcedRotation };
  }
  return { ...(await plan.begin(next)), lastForcedRotation };
}

/** Each with a name of its own: see `createRoot`. */
function nextRoot({ nowMs, random }: TrustRootEnvironment): Promise<Pair> {
  const unit = `root-${Buffer.from(random.bytes(UNIT_BYTES)).toString('hex')}`;
  return createRoot({ nowMs, random, unit });
}

class TrustRootPlan {
  readonly #cluster: Cluster;
  readonly #externalCas: readonly ExternalCa[];
  readonly #environment: TrustRootEnvironment;
  readonly #signal: AbortSignal | undefined;

  constructor(
    cluster: Cluster,
    externalCas: readonly ExternalCa[],
    environment: TrustRootEnvironment,
    signal: AbortSignal | undefined,
  ) {
    this.#cluster = cluster;
    this.#externalCas = externalCas;
    this.#environment = environment;
    this.#signal = signal;
  }

  isPresent(certPem: string): boolean {
    return sameRoot(this.#cluster.rootCa.certPem, certPem);
  }

  /** Where a key lies outside, somebody there must sign with it; asked when the list is another one. */
  async requireSigners(): Promise<void> {
    if (JSON.stringify(this.#externalCas) === JSON.stringify(this.#cluster.spec.externalCas))
      return;
    const { rootCa } = this.#cluster;
    const { rotation } = rootCa;
    // Who is named for a root signs for it from now on, whether the managers could or not.
    if (rootCa.keyPem === '' || this.#authoritiesOf(rootCa.certPem).length > 0) {
      await this.requireExternal(rootCa.certPem, 'current');
    }
    if (rotation?.keyPem === '') await this.requireExternal(rotation.certPem, 'next');
  }

  async requireExternal(certPem: string, which: 'current' | 'next' | 'desired'): Promise<void> {
    const failures: string[] = [];
    for (const authority of this.#authoritiesOf(certPem)) {
      try {
        await this.#environment.external.check(authority, certPem, this.#signal);
        return;
      } catch (err) {
        this.#signal?.throwIfAborted();
        failures.push((err as Error).message);
      }
    }
    const reasons = failures.length === 0 ? 'none is named for it' : failures.join('; ');
    throw invalid(
      `there must be at least one valid, reachable external CA corresponding to the ${which} CA certificate: ${reasons}`,
    );
  }

  /** Beside its form: that it lasts, and that OpenSSL can tell it from the present root. */
  checkNext(certPem: string, keyPem: string): Pair {
    const { nowMs } = this.#environment;
    const certificate = checkNextRoot(certPem, keyPem, nowMs);
    const present = parseCertificate(this.#cluster.rootCa.certPem);
    if (sameCertificate(certificate, present)) return { certPem: certificate.toString(), keyPem };
    if (certificate.subject === present.subject) {
      throw invalid(
        `the desired CA certificate has the subject of the present one (${present.subject.replaceAll('\n', ', ')}): give it another one`,
      );
    }
    if (certificate.publicKey.equals(present.publicKey)) {
      throw invalid(
        'the desired CA certificate has the key of the present one: a rotation needs another key',
      );
    }
    return { certPem: certificate.toString(), keyPem };
  }

  /** Replaces a rotation that is under way: nodes trust the present root until the end of it, whichever comes next. */
  async begin(next: Pair): Promise<RootCa> {
    const { rootCa } = this.#cluster;
    const rotation: RootRotation = { ...next, crossSignedPem: await this.#crossSigned(next) };
    return { ...rootCa, rotation };
  }

  async #crossSigned(next: Pair): Promise<string> {
    const { rootCa } = this.#cluster;
    const { random, external } = this.#environment;
    if (rootCa.keyPem !== '')
      return crossSign({ authority: rootCa, certPem: next.certPem, random });
    if (next.keyPem === '') {
      throw invalid('rotating from one external CA to a different external CA is not supported');
    }
    const failures: string[] = ['none is named for the present root'];
    for (const authority of this.#authoritiesOf(rootCa.certPem, this.#cluster.spec.externalCas)) {
      try {
        const signed = await external.crossSign(authority, rootCa.certPem, next, this.#signal);
        return checkedCrossSigned(signed, rootCa.certPem, next.certPem);
      } catch (err) {
        this.#signal?.throwIfAborted();
        failures.push((err as Error).message);
      }
    }
    throw new SkepError(
      'unavailable',
      `rotate the CA: unable to generate a cross-signed certificate: ${failures.at(-1)}`,
    );
  }

  /** Those that sign with this root; one that names none has the present one. */
  #authoritiesOf(certPem: string, named = this.#externalCas): readonly ExternalCa[] {
    return authoritiesOf(named, certPem, this.#cluster.rootCa.certPem);
  }
}

/** As an external authority made it: the next root's name and key, an authority, signed by the present root. */
function checkedCrossSigned(signedPem: string, presentPem: string, nextPem: string): string {
  const signed = new X509Certificate(signedPem);
  const next = parseCertificate(nextPem);
  const isRight =
    signed.ca &&
    signed.subject === next.subject &&
    signed.publicKey.equals(next.publicKey) &&
    isIssuedBy(signed, parseCertificate(presentPem));
  if (isRight) return signed.toString();
  throw new SkepError(
    'unavailable',
    'the external CA answered with another certificate than that of the next root',
  );
}

function sameRoot(a: string, b: string): boolean {
  return sameCertificate(parseCertificate(a), parseCertificate(b));
}

function invalid(message: string): SkepError {
  return new SkepError('invalid-argument', message);
}
