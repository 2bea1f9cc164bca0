/** What stands before the command: where the daemon is, and the files of TLS. Reads no files and no environment. */

export interface GlobalOptions {
  readonly host: string | null;
  readonly context: string | null;
  /** the folder that is Docker's for its settings, credentials and contexts */
  readonly config: string | null;
  readonly help: boolean;
  readonly version: boolean;
  /** undefined = not said */
  readonly tls: boolean | undefined;
  readonly tlsverify: boolean | undefined;
  readonly tlscacert: string | undefined;
  readonly tlscert: string | undefined;
  readonly tlskey: string | undefined;
  /** the command and what follows it */
  readonly args: readonly string[];
}

export class GlobalFlagError extends Error {
  /** the long form of the flag that ends the line without its value; null = something else is wrong */
  readonly open: string | null;

  constructor(message: string, open: string | null = null) {
    super(message);
    this.open = open;
  }
}

const TEXT_FLAGS: Readonly<
  Record<string, 'host' | 'context' | 'config' | 'tlscacert' | 'tlscert' | 'tlskey'>
> = {
  '-H': 'host',
  '--host': 'host',
  '-c': 'context',
  '--context': 'context',
  '--config': 'config',
  '--tlscacert': 'tlscacert',
  '--tlscert': 'tlscert',
  '--tlskey': 'tlskey',
};

const SWITCHES: Readonly<Record<string, 'help' | 'version' | 'tls' | 'tlsverify'>> = {
  '-h': 'help',
  '--help': 'help',
  '-v': 'version',
  '--version': 'version',
  '--tls': 'tls',
  '--tlsverify': 'tlsverify',
};

/** All of them, in their long form. */
export const GLOBAL_FLAGS: readonly string[] = [
  ...Object.keys(TEXT_FLAGS),
  ...Object.keys(SWITCHES),
]
  .filter((flag) => flag.startsWith('--'))
  .sort();

/** Global flags stand before the command; the first word that is no flag begins it. Throws `GlobalFlagError`. */
export function parseGlobal(argv: readonly string[]): GlobalOptions {
  const texts: Partial<Record<(typeof TEXT_FLAGS)[string], string>> = {};
  const switches: Partial<Record<(typeof SWITCHES)[string], boolean>> = {};
  let at = 0;
  for (; at < argv.length && argv[at]!.startsWith('-'); at++) {
    const [name, inline] = splitInline(argv[at]!);
    const text = Object.hasOwn(TEXT_FLAGS, name) ? TEXT_FLAGS[name] : undefined;
    const flag = Object.hasOwn(SWITCHES, name) ? SWITCHES[name] : undefined;
    if (text !== undefined) {
      const value = inline ?? argv[++at];
      if (value === undefined) {
        throw new GlobalFlagError(`flag needs an argument: ${name}`, `--${text}`);
      }
      texts[text] = value;
    } else if (flag !== undefined) {
      switches[flag] = inline === null || switchValue(name, inline);
    } else throw new GlobalFlagError(`unknown flag: ${argv[at]}`);
  }
  if (texts.host !== undefined && texts.context !== undefined) {
    throw new GlobalFlagError('conflicting options: cannot specify both --host and --context');
  }
  return {
    host: texts.host ?? null,
    context: texts.context ?? null,
    config: texts.config ?? null,
    help: switches.help ?? false,
    version: switches.version ?? false,
    tls: switches.tls,
    tlsverify: switches.tlsverify,
    tlscacert: texts.tlscacert,
    tlscert: texts.tlscert,
    tlskey: texts.tlskey,
    args: argv.slice(at),
  };
}

/** `help service create` is `service create --help`, and `help` alone asks for the overview. */
export function helpAsFlag(args: readonly string[]): readonly string[] {
  const [first, ...rest] = args;
  if (first !== 'help') return args;
  return rest.length === 0 ? [] : [...rest, '--help'];
}

/**
 * The command that asks what could come next on a line: what the line says of the daemon holds for the question too.
 * Throws `GlobalFlagError` for a line that is wrong already.
 * @param command that is asked
 * @param words so far; the last one is not said to its end
 */
export function completionQuestion(command: string, words: readonly string[]): GlobalOptions {
  const [before, open] = [words.slice(0, -1), words.at(-1) ?? ''];
  const question = (options: GlobalOptions, rest: readonly string[]): GlobalOptions => ({
    ...options,
    ...{ help: false, version: false, args: [command, '--', ...rest, open] },
  });
  try {
    const options = parseGlobal(before);
    return question(options, options.args);
  } catch (err) {
    if (!(err instanceof GlobalFlagError) || err.open === null) throw err;
    return question(parseGlobal(before.slice(0, -1)), [err.open]);
  }
}

function splitInline(arg: string): readonly [string, string | null] {
  if (/^-[Hc]./.test(arg)) return [arg.slice(0, 2), arg.slice(2).replace(/^=/, '')];
  const equals = arg.indexOf('=');
  return equals < 0 ? [arg, null] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function switchValue(name: string, text: string): boolean {
  if (['1', 'true'].includes(text)) return true;
  if (['0', 'false'].includes(text)) return false;
  throw new GlobalFlagError(
    `invalid argument "${text}" for "${name}" flag: expected true or false`,
  );
}

export interface TlsFile {
  readonly path: string;
  /** false = it may be missing */
  readonly isNeeded: boolean;
}

/** Files to read for TLS. */
export interface TlsFiles {
  readonly verify: boolean;
  readonly ca: TlsFile;
  readonly cert: TlsFile;
  readonly key: TlsFile;
}

/** As Docker's client decides it: null = TCP is plain. */
export function tlsFiles(
  options: Pick<GlobalOptions, 'tls' | 'tlsverify' | 'tlscacert' | 'tlscert' | 'tlskey'>,
  env: Readonly<Record<string, string | undefined>>,
): TlsFiles | null {
  const verify = options.tlsverify ?? isSet(env['DOCKER_TLS_VERIFY']);
  const wanted = options.tls ?? isSet(env['DOCKER_TLS']);
  if (!wanted && !verify && options.tlsverify === undefined) return null;
  const dir = env['DOCKER_CERT_PATH'] || env['DOCKER_CONFIG'] || `${env['HOME'] ?? ''}/.docker`;
  const file = (path: string | undefined, name: string, isNeeded: boolean): TlsFile => ({
    path: path ?? `${dir}/${name}`,
    isNeeded: isNeeded || path !== undefined,
  });
  return {
    verify,
    ca: file(options.tlscacert, 'ca.pem', verify),
    cert: file(options.tlscert, 'cert.pem', false),
    key: file(options.tlskey, 'key.pem', false),
  };
}

const isSet = (value: string | undefined): boolean => value !== undefined && value !== '';
