/** `skep swarm ca`: the trust root, and going over to another one. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type {
  CaConfigJson,
  ExternalCaJson,
  SwarmJson,
} from '../../common/model/engine-json/swarm.ts';
import { parseDurationNanos } from '../compose/values.ts';
import { Changes } from './changes.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  flag,
  printLine,
  UsageError,
} from './context.ts';

interface CaFlags {
  readonly caCert?: string;
  readonly caKey?: string;
  readonly certExpiry?: number;
  readonly detach?: boolean;
  readonly externalCa?: readonly string[];
  readonly quiet?: boolean;
  readonly rotate?: boolean;
}

const BAR_WIDTH = 50;

export const ca: Configure = (command, context) => {
  command
    .option('--ca-cert <file>', 'the root to go over to, PEM (default: a new one)')
    .option('--ca-key <file>', 'its key, PEM')
    .option(
      '--cert-expiry <duration>',
      'validity of node certificates, e.g. 2160h',
      flag(parseDurationNanos),
    )
    .option('-d, --detach', 'do not wait for the rotation to end')
    .option('--external-ca <spec>', 'who signs: protocol=cfssl,url=https://...', collect)
    .option('-q, --quiet', 'do not show how far the rotation is')
    .option('--rotate', 'go over to another root')
    .action(async (flags: CaFlags) => {
      if (flags.rotate) await rotate(context, flags);
      else requireRotate(flags);
      if (!(flags.rotate && (flags.detach || flags.quiet))) await printRoot(context);
    });
};

function requireRotate(flags: CaFlags): void {
  const given = { caCert: '--ca-cert', caKey: '--ca-key', certExpiry: '--cert-expiry' };
  for (const [name, spelling] of Object.entries({ ...given, externalCa: '--external-ca' })) {
    if (flags[name as keyof CaFlags] === undefined) continue;
    throw new UsageError(`\`${spelling}\` flag requires the \`--rotate\` flag to update the CA`);
  }
}

async function printRoot(context: CommandContext): Promise<void> {
  const { TLSInfo } = await context.client.swarm();
  if (!TLSInfo?.TrustRoot) {
    throw new SkepError('unavailable', 'No CA information available');
  }
  printLine(context, TLSInfo.TrustRoot.trim());
}

async function rotate(context: CommandContext, flags: CaFlags): Promise<void> {
  const { Version, Spec } = await context.client.swarm();
  const CAConfig = await caConfigOf(context, flags, Spec.CAConfig ?? {});
  await context.client.swarmUpdate(Version.Index, { ...Spec, CAConfig }, {});
  if (!flags.detach) await follow(context, flags.quiet ?? false);
}

async function caConfigOf(
  context: CommandContext,
  flags: CaFlags,
  present: CaConfigJson,
): Promise<CaConfigJson> {
  if (flags.externalCa && flags.caCert === undefined) {
    throw new UsageError(
      "rotating to an external CA requires the `--ca-cert` flag to specify the external CA's cert - " +
        'to add an external CA with the current root CA certificate, use the `update` command instead',
    );
  }
  if (flags.caCert !== undefined && flags.caKey === undefined && !flags.externalCa) {
    throw new UsageError(
      'the --ca-cert flag requires that a --ca-key flag and/or --external-ca flag be provided as well',
    );
  }
  if (flags.caKey !== undefined && flags.caCert === undefined) {
    throw new UsageError('the --ca-key flag requires that a --ca-cert flag be provided as well');
  }
  const read = (file: string | undefined): Promise<string> | string =>
    file === undefined ? '' : readFile(resolve(context.cwd, file), 'utf8');
  const SigningCACert = await read(flags.caCert);
  const external = await externalCasOf(context, flags.externalCa);
  return {
    ...present,
    ...(flags.certExpiry !== undefined && { NodeCertExpiry: flags.certExpiry }),
    ...(external && {
      ExternalCAs: external.map((one) => ({ ...one, CACert: SigningCACert })),
    }),
    SigningCACert,
    SigningCAKey: await read(flags.caKey),
    ...(SigningCACert === '' && { ForceRotate: (present.ForceRotate ?? 0) + 1 }),
  };
}

/** `protocol=cfssl,url=https://...[,cacert=FILE]`, in Docker's words where it is wrong. */
export async function externalCasOf(
  context: CommandContext,
  specs: readonly string[] | undefined,
): Promise<readonly ExternalCaJson[] | null> {
  if (specs === undefined) return null;
  return Promise.all(
    specs.filter((spec) => spec !== '').map((spec) => externalCaOf(context, spec)),
  );
}

async function externalCaOf(context: CommandContext, spec: string): Promise<ExternalCaJson> {
  const Options: Record<string, string> = {};
  let [protocol, url, CACert] = ['', '', ''];
  for (const field of spec.split(',')) {
    const [, key = '', value = ''] = /^([^=]+)=(.*)$/.exec(field) ?? [];
    if (key === '') throw new UsageError(`invalid field '${field}' must be a key=value pair`);
    switch (key.trim().toLowerCase()) {
      case 'protocol':
        protocol = value.toLowerCase();
        if (protocol !== 'cfssl') {
          throw new UsageError(`unrecognized external CA protocol ${value}`);
        }
        break;
      case 'url':
        url = value;
        break;
      case 'cacert':
        CACert = await readFile(resolve(context.cwd, value), 'utf8');
        break;
      default:
        Options[key] = value;
    }
  }
  if (protocol === '') throw new UsageError('the external-ca option needs a protocol= parameter');
  if (url === '') throw new UsageError('the external-ca option needs a url= parameter');
  return { Protocol: protocol, URL: url, Options, ...(CACert !== '' && { CACert }) };
}

/** Until every node uses a certificate of the root that is wanted, and trusts it. Ctrl-C leaves it to the managers. */
async function follow(context: CommandContext, quiet: boolean): Promise<void> {
  const { client, signal } = context;
  const progress = new RotationProgress(context);
  const changes = new Changes(context, ['cluster', 'node']);
  try {
    for (;;) {
      const [swarm, nodes] = await Promise.all([client.swarm(), client.nodes()]);
      const state = rotationState(swarm, nodes);
      if (!quiet) progress.show(state);
      if (state.isOver) return;
      await changes.next();
    }
  } catch (err) {
    if (!signal.aborted) throw err;
    if (!quiet) {
      printLine(context, 'Operation continuing in background.');
      printLine(context, 'Use `skep node inspect` to see which nodes are missing.');
    }
  } finally {
    changes.close();
  }
}

export interface RotationState {
  readonly digest: string;
  readonly total: number;
  /** nodes whose certificate the wanted root issued */
  readonly certificates: number;
  /** nodes that trust it; none before all have certificates */
  readonly roots: number;
  readonly isOver: boolean;
}

export function rotationState(swarm: SwarmJson, nodes: readonly NodeJson[]): RotationState {
  const wanted = swarm.TLSInfo ?? {};
  const issued = nodes.filter(({ Description }) => {
    const { CertIssuerSubject, CertIssuerPublicKey } = Description?.TLSInfo ?? {};
    return (
      CertIssuerSubject === wanted.CertIssuerSubject &&
      CertIssuerPublicKey === wanted.CertIssuerPublicKey
    );
  }).length;
  const trusting = nodes.filter(
    ({ Description }) => Description?.TLSInfo?.TrustRoot === wanted.TrustRoot,
  ).length;
  const areIssued = issued === nodes.length && !swarm.RootRotationInProgress;
  const hash = createHash('sha256')
    .update(wanted.TrustRoot ?? '')
    .digest('hex');
  return {
    digest: `sha256:${hash}`,
    total: nodes.length,
    certificates: issued,
    roots: areIssued ? trusting : 0,
    isOver: areIssued && trusting === nodes.length,
  };
}

/** Docker's three lines, drawn over on a terminal; elsewhere they are printed when one of them changed. */
class RotationProgress {
  readonly #context: CommandContext;
  #last = '';

  constructor(context: CommandContext) {
    this.#context = context;
  }

  show({ digest, total, certificates, roots }: RotationState): void {
    const { stdout } = this.#context;
    const isTerminal = stdout.isTTY ?? false;
    const count = (done: number): string =>
      `${isTerminal ? bar(done, total) : ''}${done}/${total} nodes`;
    const lines = [
      `desired root digest: ${digest}`,
      `  rotated TLS certificates:  ${count(certificates)}`,
      `  rotated CA certificates:   ${count(roots)}`,
    ];
    const text = lines.join('\n');
    if (text === this.#last) return;
    const up = isTerminal && this.#last !== '' ? `\x1b[${lines.length}A\x1b[J` : '';
    this.#last = text;
    stdout.write(`${up}${text}\n`);
  }
}

function bar(done: number, total: number): string {
  const full = total === 0 ? BAR_WIDTH : Math.round((done / total) * BAR_WIDTH);
  const drawn = full >= BAR_WIDTH ? '='.repeat(BAR_WIDTH) : `${'='.repeat(full)}>`;
  return `[${drawn.padEnd(BAR_WIDTH)}] `;
}
