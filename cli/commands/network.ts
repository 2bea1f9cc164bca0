/** `skep network ...`. */
import { Option } from 'commander';
import type { IpamConfigJson, NetworkJson } from '../../common/model/engine-json/network.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import { labelFields } from '../output/labels.ts';
import { renderListing } from '../output/listing.ts';
import { naturalCompare } from '../output/table.ts';
import { goTime } from '../output/units.ts';
import { askWhetherToContinue } from './ask.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  eachOf,
  filterMap,
  pairs,
  printLine,
  refuseFlags,
  UsageError,
  warnLine,
} from './context.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';
import { SHORT_ID_CHARS } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc?: boolean;
}

export const ls: Configure = (command, context) => {
  defaultFormat(command, context, 'networksFormat');
  command
    .option('-f, --filter <name=value>', 'dangling, driver, id, label, name, scope, type', collect)
    .option('--format <template>', 'table, json or a template')
    .option('--no-trunc', 'full ids')
    .option('-q, --quiet', 'ids only')
    .action(async (flags: ListFlags) => {
      const networks = await context.client.networks(filterMap(flags.filter));
      const rows = [...networks]
        .sort((a, b) => naturalCompare(a.Name, b.Name))
        .map((network) => ({
          ID: flags.trunc === false ? network.Id : network.Id.slice(0, SHORT_ID_CHARS),
          Name: network.Name,
          Driver: network.Driver,
          Scope: network.Scope,
          Internal: String(network.Internal ?? false),
          IPv4: String(network.EnableIPv4 ?? true),
          IPv6: String(network.EnableIPv6 ?? false),
          ...labelFields(network.Labels),
          CreatedAt: goTime(network.Created),
        }));
      const columns = [
        ['NETWORK ID', 'ID'],
        ['NAME', 'Name'],
        ['DRIVER', 'Driver'],
        ['SCOPE', 'Scope'],
      ] as const;
      context.stdout.write(renderListing({ columns, rows, quietField: 'ID' }, flags));
    });
};

interface CreateFlags {
  readonly attachable?: boolean;
  readonly auxAddress?: readonly string[];
  readonly configFrom?: string;
  readonly configOnly?: boolean;
  readonly driver: string;
  readonly gateway?: readonly string[];
  readonly ingress?: boolean;
  readonly internal?: boolean;
  readonly ipRange?: readonly string[];
  readonly ipamDriver: string;
  readonly ipamOpt?: readonly string[];
  readonly ipv4: boolean;
  readonly ipv6?: boolean;
  readonly label?: readonly string[];
  readonly opt?: readonly string[];
  readonly scope?: string;
  readonly subnet?: readonly string[];
}

export const create: Configure = (command, context) => {
  command
    .argument('<name>', 'of the network')
    .option('--attachable', 'containers may be attached by hand')
    .option('--aux-address <name=address>', 'address that is not to be given out', collect)
    .option('--config-from <network>', 'configuration network that each node takes all from')
    .option('--config-only', 'make a configuration network of this node')
    .option('-d, --driver <driver>', 'of the network', 'bridge')
    .option('--gateway <address>', 'one for each subnet', collect)
    .option('--ingress', 'make this the network of published ports')
    .option('--internal', 'no way out')
    .option('--ip-range <cidr>', 'where addresses come from', collect)
    .option('--ipam-driver <driver>', 'of address management', 'default')
    .option('--ipam-opt <key=value>', 'of address management', collect)
    .option('--ipv4', 'IPv4; a network has it always', true)
    .option('--ipv6', 'also IPv6')
    .option('--label <key=value>', 'of the network', collect)
    .option('-o, --opt <key=value>', 'of the driver', collect)
    .addOption(
      new Option('--scope <scope>', 'overlay is of the swarm, others where it is said').choices([
        'swarm',
        'local',
      ]),
    )
    .option('--subnet <cidr>', 'of the network', collect)
    .action(async (name: string, flags: CreateFlags) => {
      if (!flags.ipv4) throw new UsageError('--ipv4=false: a network has IPv4 always');
      if (flags.driver === 'overlay' && flags.scope === 'local') {
        throw new UsageError('--scope local: networks of overlay are swarm');
      }
      const { Id, Warning } = await context.client.networkCreate({
        Name: name,
        Driver: flags.driver,
        Internal: flags.internal ?? false,
        Attachable: flags.attachable ?? false,
        Ingress: flags.ingress ?? false,
        EnableIPv6: flags.ipv6 ?? false,
        ...(flags.scope !== undefined && { Scope: flags.scope }),
        ...(flags.configOnly && { ConfigOnly: true }),
        ...(flags.configFrom !== undefined && { ConfigFrom: { Network: flags.configFrom } }),
        IPAM: {
          Driver: flags.ipamDriver,
          Options: pairs(flags.ipamOpt),
          Config: ipamConfigs(flags),
        },
        Options: pairs(flags.opt),
        Labels: pairs(flags.label),
      });
      if (Warning) warnLine(context, Warning);
      printLine(context, Id);
    });
};

/** Gateways and ranges belong to the subnets in their order. */
function ipamConfigs(flags: CreateFlags): IpamConfigJson[] {
  const { subnet = [], gateway = [], ipRange = [], auxAddress = [] } = flags;
  if (subnet.length === 0 && (gateway.length > 0 || ipRange.length > 0 || auxAddress.length > 0)) {
    throw new UsageError('every ip-range, gateway or aux-address must have a corresponding subnet');
  }
  if (subnet.length > 1 && auxAddress.length > 0) {
    throw new UsageError('--aux-address with several subnets is not supported yet');
  }
  if (gateway.length > subnet.length || ipRange.length > subnet.length) {
    throw new UsageError('there are more gateways or ip-ranges than subnets');
  }
  return subnet.map((cidr, index) => ({
    Subnet: cidr,
    ...(gateway[index] !== undefined && { Gateway: gateway[index] }),
    ...(ipRange[index] !== undefined && { IPRange: ipRange[index] }),
    ...(auxAddress.length > 0 && { AuxiliaryAddresses: pairs(auxAddress) }),
  }));
}

export const inspect: Configure = (command, context) => {
  command
    .argument('<network...>', 'ids or names')
    .option('-f, --format <template>', 'json or a template')
    .option('-v, --verbose', 'with services and tasks')
    .action((refs: readonly string[], flags: InspectFlags & { verbose?: boolean }) =>
      inspectEach(context, refs, flags, {
        noun: 'network',
        find: (ref) => context.client.network(ref, { verbose: flags.verbose ?? false }),
      }),
    );
};

const INGRESS_WARNING =
  'WARNING! This will remove the routing-mesh network: no service can publish ports until another is made with --ingress.';

/** Asks about the network of published ports alone. Of one that cannot be read the removal says why. */
async function isRemovalWanted(context: CommandContext, ref: string): Promise<boolean> {
  let network: NetworkJson;
  try {
    network = await context.client.network(ref);
  } catch (err) {
    if (err instanceof ApiError) return true;
    throw err;
  }
  return !network.Ingress || askWhetherToContinue(context, INGRESS_WARNING);
}

export const rm: Configure = (command, context) => {
  command
    .argument('<network...>', 'ids or names')
    .option('-f, --force', 'no error for a network that does not exist, no question about ingress')
    .action((refs: readonly string[], { force }: { readonly force?: boolean }) =>
      eachOf(context, refs, async (ref) => {
        if (!force && !(await isRemovalWanted(context, ref))) return;
        try {
          await context.client.networkRemove(ref);
        } catch (err) {
          if (force && hasStatus(err, 404)) return;
          throw err;
        }
        printLine(context, ref);
      }),
    );
};

interface PruneFlags {
  readonly filter: readonly string[];
}

export const prune: Configure = (command, context) => {
  command
    .option('-f, --force', 'there is no question to answer')
    .option('--filter <name=value>', 'label, label! or until', collect, [])
    .action(async ({ filter }: PruneFlags) => {
      const { NetworksDeleted } = await context.client.networksPrune(filterMap(filter));
      if (NetworksDeleted?.length) printLine(context, 'Deleted Networks:');
      for (const name of NetworksDeleted ?? []) printLine(context, name);
    });
};

interface ConnectFlags {
  readonly alias?: readonly string[];
  readonly ip?: string;
}

export const connect: Configure = (command, context) => {
  refuseFlags(command, {
    '--driver-opt': 'options of places are not supported',
    '--gw-priority': 'the first network with a way out has it',
    '--ip6': 'places given by hand have IPv4 only',
    '--link': 'not supported: use names and aliases',
    '--link-local-ip': 'not supported',
  });
  command
    .argument('<network>', 'id or name')
    .argument('<container>', 'id or name')
    .option('--alias <name>', 'further name of the container there', collect)
    .option('--ip <address>', 'default: one is chosen')
    .action((network: string, container: string, { alias, ip }: ConnectFlags) =>
      context.client.networkConnect(network, {
        Container: container,
        EndpointConfig: {
          ...(alias && { Aliases: alias }),
          ...(ip !== undefined && { IPAMConfig: { IPv4Address: ip } }),
        },
      }),
    );
};

export const disconnect: Configure = (command, context) => {
  command
    .argument('<network>', 'id or name')
    .argument('<container>', 'id or name')
    .option('-f, --force', 'no error for a container that does not exist')
    .action((network: string, container: string, { force }: { readonly force?: boolean }) =>
      context.client.networkDisconnect(network, container, force ?? false),
    );
};
