/** `skep update`, `commit` and `port` of containers outside of services. */

import { familiarRepository, parseImageReference } from '../../common/model/image-reference.ts';
import { parseNanoCpus, parseSizeBytes } from '../compose/values.ts';
import { NO_REAL_TIME, restartPolicy } from './container-request.ts';
import {
  type Configure,
  collect,
  decimal,
  eachOf,
  flag,
  printLine,
  refuseFlags,
  UsageError,
  unsigned,
  warnLine,
} from './context.ts';

interface UpdateFlags {
  readonly blkioWeight?: number;
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly cpus?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly memory?: number;
  readonly memoryReservation?: number;
  readonly memorySwap?: number;
  readonly pidsLimit?: number;
  readonly restart?: string;
}

const size = flag(parseSizeBytes);
const sizeOrNone = flag((text: string) => (text === '-1' ? -1 : parseSizeBytes(text)));

export const update: Configure = (command, context) => {
  refuseFlags(command, {
    '--kernel-memory': 'the kernel has no such limit any more',
    ...NO_REAL_TIME,
  });
  command
    .option('--blkio-weight <n>', '10 to 1000, 0 = none', unsigned)
    .option('--cpu-period <us>', 'of the CPU limit', unsigned)
    .option('--cpu-quota <us>', 'in each period', decimal)
    .option('-c, --cpu-shares <n>', 'weight, 1024 = as others', unsigned)
    .option('--cpus <n>', 'e.g. 1.5', flag(parseNanoCpus))
    .option('--cpuset-cpus <list>', 'e.g. 0-2,4')
    .option('--cpuset-mems <list>', 'memory nodes')
    .option('-m, --memory <size>', 'at least 6m', size)
    .option('--memory-reservation <size>', 'left alone by reclaim', size)
    .option('--memory-swap <size>', 'memory and swap together; -1 = unlimited', sizeOrNone)
    .option('--pids-limit <n>', '-1 = unlimited', decimal)
    .option('--restart <policy>', 'no, on-failure[:N], always, unless-stopped')
    .argument('<container...>', 'ids or names')
    .action(async (refs: readonly string[], flags: UpdateFlags) => {
      const change = changeOf(flags);
      if (Object.keys(change).length === 0) {
        throw new UsageError('You must provide one or more flags when using this command.');
      }
      await eachOf(context, refs, async (ref) => {
        const warnings = await context.client.containerUpdate(ref, change);
        for (const warning of warnings) warnLine(context, warning);
        printLine(context, ref);
      });
    });
};

/** Only what was said: the rest stays as it is. */
function changeOf(flags: UpdateFlags): Readonly<Record<string, unknown>> {
  const fields: Readonly<Record<string, unknown>> = {
    BlkioWeight: flags.blkioWeight,
    CpuPeriod: flags.cpuPeriod,
    CpuQuota: flags.cpuQuota,
    CpuShares: flags.cpuShares,
    NanoCpus: flags.cpus,
    CpusetCpus: flags.cpusetCpus,
    CpusetMems: flags.cpusetMems,
    Memory: flags.memory,
    MemoryReservation: flags.memoryReservation,
    MemorySwap: flags.memorySwap,
    PidsLimit: flags.pidsLimit,
    RestartPolicy: flags.restart === undefined ? undefined : restartPolicy(flags.restart),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

interface CommitFlags {
  readonly author?: string;
  readonly change?: readonly string[];
  readonly message?: string;
  readonly pause: boolean;
}

export const commit: Configure = (command, context) => {
  command
    .option('-a, --author <name>', 'who made it')
    .option('-c, --change <instruction>', 'of a Dockerfile, e.g. CMD ["sh"]', collect)
    .option('-m, --message <text>', 'about it')
    .option('-p, --pause', 'pause the container meanwhile', true)
    .argument('<container>', 'id or name')
    .argument('[image]', 'its name, REPOSITORY[:TAG]')
    .action(async (ref: string, image: string | undefined, flags: CommitFlags) => {
      const { Id } = await context.client.containerCommit(ref, {
        ...(image !== undefined && nameQuery(image)),
        ...(flags.author !== undefined && { author: flags.author }),
        ...(flags.message !== undefined && { comment: flags.message }),
        ...(flags.change && { changes: flags.change }),
        pause: flags.pause,
      });
      printLine(context, Id);
    });
};

function nameQuery(image: string): { readonly repo: string; readonly tag: string } {
  const reference = parseImageReference(image);
  if (reference.digest) throw new UsageError(`${image}: an image is named without a digest`);
  return { repo: familiarRepository(reference), tag: reference.tag ?? 'latest' };
}

export const port: Configure = (command, context) => {
  command
    .argument('<container>', 'id or name')
    .argument('[port]', 'of the container, PORT[/PROTOCOL]; default: all')
    .action(async (ref: string, wanted?: string) => {
      const { NetworkSettings } = await context.client.container(ref);
      const ports = NetworkSettings?.Ports ?? {};
      if (wanted === undefined) {
        for (const [key, bindings] of Object.entries(ports).sort(([a], [b]) => (a < b ? -1 : 1))) {
          for (const binding of bindings ?? []) {
            printLine(context, `${key} -> ${addressOf(binding)}`);
          }
        }
        return;
      }
      const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
      const bindings = ports[key] ?? [];
      if (bindings.length === 0) {
        throw new UsageError(`Error: No public port '${key}' published for ${ref}`);
      }
      for (const binding of bindings) printLine(context, addressOf(binding));
    });
};

function addressOf({ HostIp, HostPort }: { HostIp: string; HostPort: string }): string {
  return `${HostIp.includes(':') ? `[${HostIp}]` : HostIp || '0.0.0.0'}:${HostPort}`;
}
