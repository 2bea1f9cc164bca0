/**
 * The daemon started as dockerd (`bin/skepd-dockerd`), for scripts and test suites that start an engine: dockerd's
 * flags for what skep has too. All others are unknown, and stop it.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { LogLevel } from '../common/base/log.ts';
import {
  apiOptions,
  collect,
  daemonOptions,
  type Flags,
  type Invocation,
  switchOf,
} from './options.ts';
import { registryFlags } from './registry-options.ts';

const DOCKERD_SOCKET = '/var/run/docker.sock';
/** Whose the socket is where there is such a group and none is named. */
const DOCKERD_GROUP = 'docker';

/** Of dockerd, and what they are here. */
const LEVELS: Readonly<Record<string, LogLevel>> = {
  ...{ debug: 'debug', info: 'info', warn: 'warn', error: 'error', fatal: 'error' },
};

interface DockerdFlags extends Omit<Flags, 'logLevel'> {
  readonly dataRoot?: string;
  readonly pidfile?: string;
  readonly debug?: boolean;
  readonly logLevel?: string;
  readonly swarmDefaultAdvertiseAddr?: string;
}

/**
 * Prints help or a usage error and exits by itself, as commands do.
 *
 * @param hasGroup whether this machine has a group of that name
 */
export async function parseDockerd(
  args: readonly string[],
  version: string,
  env: Readonly<Record<string, string | undefined>>,
  hasGroup: (name: string) => Promise<boolean>,
): Promise<Invocation> {
  const command = apiOptions(new Command('skepd-dockerd'), DOCKERD_SOCKET)
    .description('The skep daemon with the flags of dockerd')
    .version(version, '-v, --version')
    .option('--data-root <dir>', 'where everything durable lies (default /var/lib/skep)')
    .option('--exec-root <dir>', 'without effect: what runs is kept track of in the data root')
    .option('-p, --pidfile <file>', 'file for the number of the process')
    .addOption(
      new Option('-D, --debug [on]', 'as --log-level debug')
        .preset('true')
        .argParser(switchOf('debug')),
    )
    .addOption(new Option('-l, --log-level <level>', 'default info').choices(Object.keys(LEVELS)))
    .option('--swarm-default-advertise-addr <ip>', 'the address that other nodes are told')
    .option('--label <key=value>', 'engine label of this node', collect)
    .option('--log-driver <name>', 'of containers that name none (default json-file)')
    .option('--log-opt <key=value>', 'of that log driver', collect)
    .option('--userns-remap <user[:group]>', 'containers have the subordinate ids of this user')
    .option('--add-runtime <name=path>', 'an OCI runtime that containers may name', collect)
    .option('--default-runtime <name>', 'of containers that name none (default native)')
    .option('--node-generic-resource <kind=value>', 'what tasks can reserve here', collect)
    .combineFlagAndOptionalValue(false) // `-Dl warn` is two flags
    .allowExcessArguments(false)
    .action(() => {});
  registryFlags(command, collect).parse([...args], { from: 'user' });
  const { dataRoot, swarmDefaultAdvertiseAddr, debug, logLevel, pidfile, ...flags } =
    command.opts<DockerdFlags>();
  const level = debug ? 'debug' : (logLevel ?? 'info');
  const given = {
    ...flags,
    host: flags.host ?? [`unix://${DOCKERD_SOCKET}`],
    group: flags.group ?? ((await hasGroup(DOCKERD_GROUP)) ? DOCKERD_GROUP : ''),
    tlsDir: env['DOCKER_CERT_PATH'] || env['DOCKER_CONFIG'] || join(homedir(), '.docker'),
    logLevel: LEVELS[level] ?? 'info',
    ...(dataRoot !== undefined && { dataDir: dataRoot }),
    ...(swarmDefaultAdvertiseAddr !== undefined && { advertiseAddr: swarmDefaultAdvertiseAddr }),
  };
  const options = await daemonOptions(given, env);
  return { kind: 'serve', options, pidFile: pidfile ?? null };
}
