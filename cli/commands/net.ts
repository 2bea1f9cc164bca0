/** `skep net`: is the network of every node as it ought to be, and which way does a connection take? Exit status 0 or 1. */
import type { NetworkProofJson, NetworkTraceJson } from '../../common/model/engine-json/network.ts';
import { renderTable } from '../output/table.ts';
import { type Configure, ExitError, UsageError } from './context.ts';

const OUTPUTS = ['text', 'json'];

interface VerifyFlags {
  readonly repair?: boolean;
  readonly output: string;
}

export const verify: Configure = (command, context) => {
  command
    .option('--repair', 'put right what is not')
    .option('-o, --output <form>', 'text or json', 'text')
    .action(async ({ repair = false, output }: VerifyFlags) => {
      if (!OUTPUTS.includes(output)) {
        throw new UsageError(`invalid --output '${output}': expected ${OUTPUTS.join(' or ')}`);
      }
      const proofs = await context.client.networkProofs(repair);
      const json = (): string => `${JSON.stringify(proofs, null, 4)}\n`;
      context.stdout.write(output === 'json' ? json() : inWords(proofs));
      if (!proofs.every(isRight)) throw new ExitError(1);
    });
};

interface TraceFlags {
  readonly from: string;
  readonly output: string;
}

export const trace: Configure = (command, context) => {
  command
    .argument('<service>', 'id or name')
    .requiredOption(
      '--from <node or task>',
      'where the connection starts: a node, SERVICE.SLOT (SERVICE.NODE of a global service) or a task',
    )
    .option('-o, --output <form>', 'text or json', 'text')
    .action(async (service: string, { from, output }: TraceFlags) => {
      if (!OUTPUTS.includes(output)) {
        throw new UsageError(`invalid --output '${output}': expected ${OUTPUTS.join(' or ')}`);
      }
      const found = await context.client.networkTrace(service, from);
      const json = (): string => `${JSON.stringify(found, null, 4)}\n`;
      context.stdout.write(output === 'json' ? json() : wayInWords(found));
      if (found.Hops.some(({ Faults }) => Faults.length > 0)) throw new ExitError(1);
    });
};

function wayInWords({ Task, Hostname, NodeID, Service, Hops }: NetworkTraceJson): string {
  const start = Task === '' ? `node ${Hostname || NodeID}` : `${Task} on ${Hostname || NodeID}`;
  const rows = Hops.flatMap(({ Step, Detail, Faults }) => [
    [Step, Detail, Faults[0] ?? 'so in the kernel'],
    ...Faults.slice(1).map((fault) => ['', '', fault]),
  ]);
  return `from ${start} to ${Service}\n\n${renderTable([['STEP', 'BY THE TABLES', 'KERNEL'], ...rows])}`;
}

/** A node that is down has no network to be wrong. */
export function isRight({ State, LeftCount, Failures }: NetworkProofJson): boolean {
  return State === 'down' || (State === 'compared' && LeftCount === 0 && Failures.length === 0);
}

const nameOf = ({ Hostname, NodeID }: NetworkProofJson): string => Hostname || NodeID;

function inWords(proofs: readonly NetworkProofJson[]): string {
  const nodes = proofs.map((proof) => [
    nameOf(proof),
    stateOf(proof),
    ...(proof.State === 'compared'
      ? [proof.Compared, proof.DriftCount, proof.LeftCount, proof.RepairedSinceStart].map(String)
      : []),
  ]);
  const header = ['NODE', 'NETWORK', 'COMPARED', 'DRIFTED', 'LEFT', 'REPAIRED SINCE START'];
  const parts = [renderTable([header, ...nodes])];
  const drifts = proofs.flatMap((proof) =>
    proof.Drifts.map(({ Where, What, Wanted, Found, Repaired }) => [
      nameOf(proof),
      Where,
      What,
      Wanted ?? 'absent',
      Found ?? 'absent',
      Repaired ? 'repaired' : 'left',
    ]),
  );
  if (drifts.length > 0) {
    parts.push(renderTable([['NODE', 'WHERE', 'WHAT', 'WANTED', 'FOUND', 'NOW'], ...drifts]));
  }
  const told = drifts.length;
  const more = proofs.reduce((sum, { DriftCount }) => sum + DriftCount, 0) - told;
  if (more > 0) parts.push(`and ${more} more\n`);
  const failures = proofs.flatMap((proof) => [
    ...(proof.State === 'failed' ? [`${nameOf(proof)}: ${proof.Error}\n`] : []),
    ...proof.Failures.map(({ Where, Reason }) => `${nameOf(proof)}: ${Where}: ${Reason}\n`),
  ]);
  if (failures.length > 0) parts.push(failures.join(''));
  return parts.join('\n');
}

function stateOf(proof: NetworkProofJson): string {
  if (proof.State !== 'compared') return proof.State === 'down' ? 'node is down' : 'not compared';
  return isRight(proof) ? 'right' : 'wrong';
}
