/** `skep service explain`: why tasks of a service wait, what each node says, what would help. */
import type { ServiceExplanationJson } from '../../common/model/engine-json/service.ts';
import { hasStatus } from '../client/transport.ts';
import { naturalCompare, renderTable } from '../output/table.ts';
import { type Configure, UsageError } from './context.ts';

const OUTPUTS = ['text', 'json'];

export const explain: Configure = (command, context) => {
  command
    .argument('<service>', 'id or name')
    .option('-o, --output <form>', 'text or json', 'text')
    .action(async (ref: string, { output }: { readonly output: string }) => {
      if (!OUTPUTS.includes(output)) {
        throw new UsageError(`invalid --output '${output}': expected ${OUTPUTS.join(' or ')}`);
      }
      const explanation = await explanationOf(context.client, ref);
      context.stdout.write(
        output === 'json' ? `${JSON.stringify(explanation, null, 4)}\n` : inWords(explanation),
      );
    });
};

async function explanationOf(
  client: { serviceExplanation(ref: string): Promise<ServiceExplanationJson> },
  ref: string,
): Promise<ServiceExplanationJson> {
  try {
    return await client.serviceExplanation(ref);
  } catch (err) {
    if (hasStatus(err, 404)) throw new UsageError(`no such service: ${ref}`);
    throw err;
  }
}

function inWords(explanation: ServiceExplanationJson): string {
  const parts = [waitingInWords(explanation), nodesInWords(explanation)];
  const { Nearest } = explanation;
  if (Nearest) {
    const name = Nearest.Hostname || Nearest.NodeID;
    const changes = Nearest.Changes.map((change) => `  ${change}\n`).join('');
    parts.push(`The nearest is ${name}. It would do after:\n${changes}`);
  }
  return parts.join('\n');
}

function waitingInWords({
  ServiceName,
  Waiting,
  WaitingCount,
  Nodes,
}: ServiceExplanationJson): string {
  if (Waiting.length === 0) return `${ServiceName}: no task waits for a node\n`;
  const hostnames = new Map(Nodes.map(({ NodeID, Hostname }) => [NodeID, Hostname || NodeID]));
  const rows = Waiting.map(({ TaskID, Slot, NodeID, State, Reason }) => {
    const seat = NodeID === '' ? String(Slot) : (hostnames.get(NodeID) ?? NodeID);
    return [`${ServiceName}.${seat}`, TaskID, State, Reason || 'not looked at yet'];
  }).sort(([a = ''], [b = '']) => naturalCompare(a, b));
  const rest = WaitingCount - Waiting.length;
  const more = rest > 0 ? `and ${rest} more\n` : '';
  return renderTable([['WAITS', 'TASK', 'STATE', 'REASON'], ...rows]) + more;
}

function nodesInWords({ Nodes }: ServiceExplanationJson): string {
  if (Nodes.length === 0) return 'There is no node.\n';
  const rows = Nodes.map(({ Hostname, NodeID, Tasks, Fits, Refusals }) => [
    Hostname || NodeID,
    String(Tasks),
    Fits ? 'yes' : 'no',
    Refusals.map(({ Filter, Detail }) => `${Filter}: ${Detail}`).join('; '),
  ]).sort(([a = ''], [b = '']) => naturalCompare(a, b));
  return renderTable([['NODE', 'TASKS', 'FITS', 'WHY NOT'], ...rows]);
}
