/**
 * `skep doctor`: whether this host can do what skep asks of it, and the cluster's hosts reach one another; with each
 * trouble what to do about it. It changes nothing: features are tried in namespaces that end with the trial.
 */
import type { NetworkProofJson } from '../../common/model/engine-json/network.ts';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { InfoJson } from '../../common/model/engine-json/system.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { isLocalHost } from '../client/endpoint.ts';
import { paintFor } from '../output/palette.ts';
import { renderTable } from '../output/table.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
  UsageError,
} from './context.ts';
import { type Finding, judgeCluster, judgeHost, notLookedAt } from './doctor-findings.ts';
import { type PathEnd, probeHost, probePaths } from './doctor-probes.ts';

const DATA_DIR_DEFAULT = '/var/lib/skep';
const DATA_PATH_PORT_DEFAULT = 4789;
const CONTROL_PORT_DEFAULT = 2377;
/** A daemon that is slower counts as one that does not answer. */
const ANSWER_MS = 10_000;

interface DoctorFlags {
  readonly dataDir?: string;
  readonly json?: boolean;
}

export const doctor: Configure = (command, context) => {
  command
    .option('--data-dir <dir>', `default: that of the daemon, or ${DATA_DIR_DEFAULT}`)
    .option('--json', 'print for programs')
    .action(async ({ dataDir, json }: DoctorFlags) => {
      const { host } = context.client;
      const isHere = isLocalHost(host);
      if (!isHere && dataDir !== undefined) {
        throw new UsageError(`--data-dir is of this machine, and the daemon is at ${host}`);
      }
      const cluster = await askDaemon(context);
      const findings = isHere
        ? await lookHere(context, cluster, dataDir)
        : [notLookedAt(host), ...judgeCluster({ ...cluster, paths: [] })];
      context.stdout.write(
        json ? `${JSON.stringify(findings, null, 2)}\n` : report(context, findings),
      );
      if (findings.some(({ level }) => level === 'fail')) throw new ExitError(1);
    });
};

/** This machine, whose daemon it is, and its ways to the other nodes. */
async function lookHere(
  { signal }: CommandContext,
  cluster: ClusterFacts,
  dataDir: string | undefined,
): Promise<readonly Finding[]> {
  const { info } = cluster;
  const folder = dataDir ?? info?.DockerRootDir ?? DATA_DIR_DEFAULT;
  const host = await probeHost(folder, cluster.dataPathPort, signal);
  const own = info?.Swarm.NodeID ?? '';
  const paths = await probePaths(pathEnds(cluster.nodes, own), host.mtu, signal);
  return [...judgeHost(host, info), ...judgeCluster({ ...cluster, paths })];
}

/** Managers say where they listen; other nodes do as they do. */
function pathEnds(nodes: readonly NodeJson[], own: string): readonly PathEnd[] {
  const portOf = ({ ManagerStatus }: NodeJson): number | null => {
    const [, port] = /:(\d+)$/.exec(ManagerStatus?.Addr ?? '') ?? [];
    return port === undefined ? null : Number(port);
  };
  const usual = nodes.map(portOf).find((port) => port !== null) ?? CONTROL_PORT_DEFAULT;
  return nodes
    .filter(({ ID, Status }) => ID !== own && Status?.State === 'ready')
    .flatMap((node) => {
      const address = node.Status?.Addr ?? '';
      return address === '' ? [] : [{ address, port: portOf(node) ?? usual }];
    });
}

export interface ClusterFacts {
  /** null = no daemon answers */
  readonly info: InfoJson | null;
  /** why not */
  readonly silence: string;
  readonly nodes: readonly NodeJson[];
  readonly tasks: readonly TaskJson[];
  /** whether the network of each node is as it ought to be */
  readonly proofs: readonly NetworkProofJson[];
  /** the default one where no manager says */
  readonly dataPathPort: number;
}

async function askDaemon(context: CommandContext): Promise<ClusterFacts> {
  const dataPathPort = DATA_PATH_PORT_DEFAULT;
  const none = { info: null, silence: '', nodes: [], tasks: [], proofs: [], dataPathPort };
  const asked = (async (): Promise<ClusterFacts> => {
    const { client } = context;
    const info = await client.info();
    if (!info.Swarm.ControlAvailable) return { ...none, info };
    const [nodes, tasks, swarm, proofs] = await Promise.all([
      client.nodes(),
      client.tasks(),
      client.swarm(),
      client.networkProofs(false),
    ]);
    const { DataPathPort } = swarm as { readonly DataPathPort?: number };
    const port = DataPathPort || dataPathPort;
    return { info, silence: '', nodes, tasks, proofs, dataPathPort: port };
  })();
  const late = context.clock
    .sleep(ANSWER_MS, context.signal)
    .then(() => ({ ...none, silence: `no answer within ${ANSWER_MS / 1000} s` }));
  try {
    return await Promise.race([asked, late]);
  } catch (err) {
    if (context.signal.aborted) throw err;
    return { ...none, silence: errorLine(err) };
  }
}

const WORDS = { ok: 'ok', warn: 'warning', fail: 'FAILED' } as const;
const TONES = { ok: 'good', warning: 'caution', FAILED: 'bad' } as const;

function report({ stdout, env }: CommandContext, findings: readonly Finding[]): string {
  const paint = paintFor(stdout, env);
  const lines = findings.flatMap(({ level, check, text, remedy }) => [
    [WORDS[level], check, text],
    ...(remedy === '' ? [] : [['', '', `-> ${remedy}`]]),
  ]);
  const count = (level: Finding['level']): number =>
    findings.filter((finding) => finding.level === level).length;
  const [fails, warnings] = [count('fail'), count('warn')];
  const summary =
    fails + warnings === 0 ? 'All is well.' : `${fails} failed, ${warnings} warnings.`;
  const table = renderTable(lines).replace(/^(ok|warning|FAILED)(?= )/gm, (word) =>
    paint(word, TONES[word as keyof typeof TONES]),
  );
  return `${table}\n${summary}\n`;
}
