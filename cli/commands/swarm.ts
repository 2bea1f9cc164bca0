/** `skep swarm ...`: starting, joining and leaving a cluster. */
import { Option } from 'commander';
import { SkepError } from '../../common/base/errors.ts';
import type { SwarmSpecJson } from '../../common/model/engine-json/swarm.ts';
import { ApiError } from '../client/transport.ts';
import { parseDurationNanos } from '../compose/values.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  flag,
  printLine,
  UsageError,
  unsigned,
} from './context.ts';
import { externalCasOf } from './swarm-ca.ts';
import { boolean, printUnlockKey } from './swarm-lock.ts';

const DEFAULT_LISTEN = '0.0.0.0:2377';
const AVAILABILITIES = ['active', 'pause', 'drain'];

interface SpecFlags {
  readonly autolock?: boolean;
  readonly certExpiry?: number;
  readonly dispatcherHeartbeat?: number;
  readonly externalCa?: readonly string[];
  readonly maxSnapshots?: number;
  readonly snapshotInterval?: number;
  readonly taskHistoryLimit?: number;
}

interface InitFlags extends SpecFlags {
  readonly advertiseAddr?: string;
  readonly availability: string;
  readonly dataPathAddr?: string;
  readonly dataPathPort?: number;
  readonly defaultAddrPool?: readonly string[];
  readonly defaultAddrPoolMaskLength: number;
  readonly forceNewCluster?: boolean;
  readonly listenAddr: string;
}

function specFlags(command: Parameters<Configure>[0]): void {
  const duration = flag(parseDurationNanos);
  command
    .option('--autolock [bool]', 'managers need a key after a restart', flag(boolean))
    .option('--cert-expiry <duration>', 'validity of node certificates, e.g. 2160h', duration)
    .option('--dispatcher-heartbeat <duration>', 'heartbeat period of the nodes', duration)
    .option('--max-snapshots <n>', 'additional Raft snapshots to keep', unsigned)
    .option('--snapshot-interval <n>', 'log entries between Raft snapshots', unsigned)
    .option('--task-history-limit <n>', 'old tasks to keep for each slot', unsigned);
}

/** Only what the user gave enters the spec. */
async function specOf(
  context: CommandContext,
  flags: SpecFlags,
  base: SwarmSpecJson,
): Promise<SwarmSpecJson> {
  const external = await externalCasOf(context, flags.externalCa);
  const authority = {
    ...base.CAConfig,
    ...(flags.certExpiry !== undefined && { NodeCertExpiry: flags.certExpiry }),
    ...(external && { ExternalCAs: external }),
  };
  const raft = {
    ...base.Raft,
    ...(flags.snapshotInterval !== undefined && { SnapshotInterval: flags.snapshotInterval }),
    ...(flags.maxSnapshots !== undefined && { KeepOldSnapshots: flags.maxSnapshots }),
  };
  return {
    ...base,
    ...(flags.taskHistoryLimit !== undefined && {
      Orchestration: { TaskHistoryRetentionLimit: flags.taskHistoryLimit },
    }),
    ...(Object.keys(raft).length > 0 && { Raft: raft }),
    ...(flags.dispatcherHeartbeat !== undefined && {
      Dispatcher: { HeartbeatPeriod: flags.dispatcherHeartbeat },
    }),
    ...(Object.keys(authority).length > 0 && { CAConfig: authority }),
    ...(flags.autolock !== undefined && {
      EncryptionConfig: { AutoLockManagers: flags.autolock },
    }),
  };
}

const availability = (): Option =>
  new Option('--availability <state>', 'of this node').choices(AVAILABILITIES).default('active');

export const init: Configure = (command, context) => {
  specFlags(command);
  command
    .option(
      '--external-ca <spec>',
      'who has the key of the root: protocol=cfssl,url=https://...,cacert=FILE',
      collect,
    )
    .option('--advertise-addr <ip[:port]>', 'address that other nodes are told')
    .addOption(availability())
    .option('--data-path-addr <ip>', 'address for traffic between tasks')
    .option(
      '--data-path-port <port>',
      'UDP port for traffic between tasks (default 4789)',
      unsigned,
    )
    .option('--default-addr-pool <cidr>', 'where subnets of networks come from', collect)
    .option('--default-addr-pool-mask-length <n>', 'size of those subnets', unsigned, 24)
    .option('--force-new-cluster', 'make a cluster of one from the state of this manager')
    .option('--listen-addr <ip:port>', 'where the cluster RPC listens', DEFAULT_LISTEN)
    .action(async (flags: InitFlags) => {
      const nodeId = await initialise(context, flags);
      const [node, swarm] = await Promise.all([
        context.client.node(nodeId),
        context.client.swarm(),
      ]);
      printLine(context, `Swarm initialized: current node (${nodeId}) is now a manager.\n`);
      printJoin(context, 'worker', swarm.JoinTokens?.Worker ?? '', node.ManagerStatus?.Addr ?? '');
      printLine(
        context,
        "To add a manager to this swarm, run 'skep swarm join-token manager' and follow the instructions.\n",
      );
      if (flags.autolock) await printUnlockKey(context);
    });
};

async function initialise(context: CommandContext, flags: InitFlags): Promise<string> {
  const spec = await specOf(context, flags, {});
  try {
    return await context.client.swarmInit({
      ListenAddr: flags.listenAddr,
      AdvertiseAddr: flags.advertiseAddr ?? '',
      DataPathAddr: flags.dataPathAddr ?? '',
      DataPathPort: flags.dataPathPort ?? 0,
      ForceNewCluster: flags.forceNewCluster ?? false,
      AutoLockManagers: flags.autolock ?? false,
      Availability: flags.availability,
      DefaultAddrPool: flags.defaultAddrPool ?? [],
      SubnetSize: flags.defaultAddrPoolMaskLength,
      Spec: spec,
    });
  } catch (err) {
    const unclear = /could not choose an IP address|could not find the system's IP address/;
    if (err instanceof ApiError && unclear.test(err.message)) {
      throw new ApiError(err.status, `${err.message} - specify one with --advertise-addr`);
    }
    throw err;
  }
}

function printJoin(context: CommandContext, role: string, token: string, address: string): void {
  printLine(context, `To add a ${role} to this swarm, run the following command:\n`);
  printLine(context, `    skep swarm join --token ${token} ${address}\n`);
}

interface JoinFlags {
  readonly advertiseAddr?: string;
  readonly availability: string;
  readonly dataPathAddr?: string;
  readonly listenAddr: string;
  readonly token?: string;
}

export const join: Configure = (command, context) => {
  command
    .argument('<host:port>', 'a manager of the cluster')
    .option('--advertise-addr <ip[:port]>', 'address that other nodes are told')
    .addOption(availability())
    .option('--data-path-addr <ip>', 'address for traffic between tasks')
    .option('--listen-addr <ip:port>', 'where the cluster RPC listens', DEFAULT_LISTEN)
    .option('--token <token>', 'from `skep swarm join-token`')
    .action(async (remote: string, flags: JoinFlags) => {
      await context.client.swarmJoin({
        ListenAddr: flags.listenAddr,
        AdvertiseAddr: flags.advertiseAddr ?? '',
        DataPathAddr: flags.dataPathAddr ?? '',
        RemoteAddrs: [remote],
        JoinToken: flags.token ?? '',
        Availability: flags.availability,
      });
      const info = await context.client.info();
      const role = info.Swarm.ControlAvailable ? 'manager' : 'worker';
      printLine(context, `This node joined a swarm as a ${role}.`);
    });
};

export const joinToken: Configure = (command, context) => {
  command
    .argument('<role>', 'worker or manager')
    .option('-q, --quiet', 'print the token only')
    .option('--rotate', 'make a new token; the old one ends')
    .action(
      async (role: string, flags: { readonly quiet?: boolean; readonly rotate?: boolean }) => {
        if (role !== 'worker' && role !== 'manager') {
          throw new UsageError(`unknown role ${role}: expected worker or manager`);
        }
        if (flags.rotate) await rotate(context, role);
        const swarm = await context.client.swarm();
        const token = swarm.JoinTokens?.[role === 'worker' ? 'Worker' : 'Manager'] ?? '';
        if (flags.quiet) {
          printLine(context, token);
          return;
        }
        if (flags.rotate) printLine(context, `Successfully rotated ${role} join token.\n`);
        printJoin(context, role, token, await ownAddress(context));
      },
    );
};

async function rotate(context: CommandContext, role: 'worker' | 'manager'): Promise<void> {
  const { Version, Spec } = await context.client.swarm();
  await context.client.swarmUpdate(Version.Index, Spec, { [role]: true });
}

async function ownAddress(context: CommandContext): Promise<string> {
  const { Swarm } = await context.client.info();
  if (!Swarm.NodeID) throw new SkepError('not-in-swarm', 'this node is not part of a swarm');
  const node = await context.client.node(Swarm.NodeID);
  return node.ManagerStatus?.Addr ?? '';
}

export const leave: Configure = (command, context) => {
  command
    .option('-f, --force', 'also from a manager: the last one takes the whole state with it')
    .action(async ({ force }: { readonly force?: boolean }) => {
      await context.client.swarmLeave(force ?? false);
      printLine(context, 'Node left the swarm.');
    });
};

export const update: Configure = (command, context) => {
  specFlags(command);
  command.option('--external-ca <spec>', 'who signs: protocol=cfssl,url=https://...', collect);
  command.action(async (flags: SpecFlags) => {
    if (Object.keys(flags).length === 0) {
      command.outputHelp();
      return;
    }
    const { Version, Spec } = await context.client.swarm();
    const wanted = await specOf(context, flags, Spec);
    await context.client.swarmUpdate(Version.Index, wanted, {});
    printLine(context, 'Swarm updated.');
    if (flags.autolock && !Spec.EncryptionConfig?.AutoLockManagers) await printUnlockKey(context);
  });
};
