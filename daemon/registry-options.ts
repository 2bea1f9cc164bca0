/** The flags about registries, and the settings that they and the environment make. */
import { type Command, Option } from 'commander';
import type { RegistrySettings } from '../worker/images/image-store.ts';

export interface RegistryFlags {
  readonly insecureRegistry?: readonly string[];
  readonly registryMirror?: readonly string[];
  readonly registryCertsDir?: readonly string[];
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/** Keys of the configuration file with one value, and with several. */
export const REGISTRY_TEXT_KEYS = ['http-proxy', 'https-proxy', 'no-proxy'];
export const REGISTRY_LIST_KEYS = ['insecure-registry', 'registry-mirror', 'registry-certs-dir'];

/** Docker's place comes first, so that what is set up for it holds here, too. */
const CERTIFICATE_DIRS = ['/etc/docker/certs.d', '/etc/skep/certs.d'];

type Collect = (value: string, before?: readonly string[]) => readonly string[];

export function registryFlags(command: Command, collect: Collect): Command {
  return command
    .option('--insecure-registry <host>', 'registry that may be reached without TLS', collect)
    .option(
      '--registry-mirror <url>',
      'asked before docker.io, or REGISTRY=URL: before that registry',
      collect,
    )
    .option(
      '--registry-certs-dir <dir>',
      `holds HOST[:PORT]/{*.crt,*.cert,*.key} (default ${CERTIFICATE_DIRS.join(' and ')})`,
      collect,
    )
    .option('--http-proxy <url>', 'to registries without TLS (default: HTTP_PROXY)')
    .option('--https-proxy <url>', 'to registries with TLS (default: HTTPS_PROXY)')
    .addOption(noProxyOption());
}

/** A name that begins with "no" takes a value here, as Docker's does; commander would negate `proxy`. */
function noProxyOption(): Option {
  const option = new Option(
    '--no-proxy <hosts>',
    'reached without proxy, by comma (default: NO_PROXY)',
  );
  option.negate = false;
  return option;
}

/** @param env the variables of curl and Docker, in either case, count where no flag is given */
export function registrySettings(
  flags: RegistryFlags,
  env: Readonly<Record<string, string | undefined>>,
): RegistrySettings {
  const variable = (name: string): string => env[name] || env[name.toLowerCase()] || '';
  const noProxy = flags.noProxy ?? variable('NO_PROXY');
  return {
    insecureRegistries: flags.insecureRegistry ?? [],
    certificateDirs: flags.registryCertsDir ?? CERTIFICATE_DIRS,
    mirrors: flags.registryMirror ?? [],
    proxy: {
      http: (flags.httpProxy ?? variable('HTTP_PROXY')) || null,
      https: (flags.httpsProxy ?? variable('HTTPS_PROXY')) || null,
      except: noProxy.split(',').filter((entry) => entry.trim() !== ''),
    },
  };
}
