#!/usr/bin/env node
/**
 * The skep process: global flags, help, the environment, the exit status. What a command does with
 * its flags is run.ts's business.
 */
import { ABSENT, COMMANDS, COMPLETE, findCommand, GROUPS } from './command-table.ts';
import {
  completionQuestion,
  GlobalFlagError,
  type GlobalOptions,
  helpAsFlag,
  parseGlobal,
} from './global-options.ts';
import { ProcessSignals } from './process-signals.ts';

const EXIT_FLAG = 125;

function overview(): string {
  const width = Math.max(
    ...[...Object.keys(GROUPS), ...Object.keys(COMMANDS)].map((w) => w.length),
  );
  const rows = (table: Readonly<Record<string, { readonly summary: string }>>): string =>
    Object.entries(table)
      .map(([name, { summary }]) => `  ${name.padEnd(width + 2)}${summary}`)
      .join('\n');
  return `Usage:  skep [OPTIONS] COMMAND

A container orchestrator for many hosts

Management Commands:
${rows(GROUPS)}

Commands:
${rows(COMMANDS)}

Global Options:
      --config string Folder of docker's settings, credentials and contexts (env DOCKER_CONFIG; default ~/.docker)
  -c, --context string
                      Context to use (env SKEP_CONTEXT, DOCKER_CONTEXT; default: that of "skep context use")
  -H, --host string   Daemon socket (env SKEP_HOST, DOCKER_HOST; default unix:///run/skep/skep.sock)
      --tls           TLS to a tcp:// daemon (env DOCKER_TLS)
      --tlsverify     and check its certificate (env DOCKER_TLS_VERIFY)
      --tlscacert, --tlscert, --tlskey string
                      Files for it (default ca.pem, cert.pem, key.pem in DOCKER_CERT_PATH or ~/.docker)
  -v, --version       Print the version and quit

Run 'skep COMMAND --help' for more information on a command.
`;
}

function groupHelp(name: string): string {
  const group = GROUPS[name]!;
  const width = Math.max(...Object.keys(group.commands).map((word) => word.length));
  const rows = Object.entries(group.commands)
    .map(([word, { summary }]) => `  ${word.padEnd(width + 2)}${summary}`)
    .join('\n');
  return `Usage:  skep ${name} COMMAND

${group.summary}

Commands:
${rows}

Run 'skep ${name} COMMAND --help' for more information on a command.
`;
}

function unknownCommand(words: string, help: string): number {
  const why = Object.hasOwn(ABSENT, words) ? ABSENT[words] : undefined;
  const line = why ? `skep ${words} is not supported: ${why}` : `unknown command: skep ${words}`;
  process.stderr.write(`skep: ${line}\n\nRun '${help}' for usage\n`);
  return 1;
}

async function main(argv: readonly string[], signals: ProcessSignals): Promise<number> {
  const isCompletion = argv[0] === COMPLETE;
  let options: GlobalOptions;
  try {
    options = isCompletion ? completionQuestion(COMPLETE, argv.slice(1)) : parseGlobal(argv);
  } catch (err) {
    if (!(err instanceof GlobalFlagError)) throw err;
    if (isCompletion) return 0; // a shell shows no errors
    process.stderr.write(`${err.message}\n\nRun 'skep --help' for more information\n`);
    return EXIT_FLAG;
  }
  const asked = options.version ? ['version', ...options.args] : options.args;
  const args = helpAsFlag(asked);
  if (options.help || args.length === 0) {
    process.stdout.write(overview());
    return 0;
  }
  const found = findCommand(args);
  if (!found) return unknownCommand(args[0]!, 'skep --help');
  if ('group' in found) {
    const { group, unknown } = found;
    if (unknown !== null) return unknownCommand(`${group} ${unknown}`, `skep ${group} --help`);
    process.stdout.write(groupHelp(group));
    return 0;
  }
  // Loaded only now: help needs neither the flag parser nor HTTP.
  const [{ runCommand }, { daemonAddress }] = await Promise.all([
    import('./run.ts'),
    import('./daemon-address.ts'),
  ]);
  // What a flag says is said to commands as the environment would.
  const env = {
    ...process.env,
    ...(options.config !== null && { DOCKER_CONFIG: options.config }),
    ...(options.host !== null && { SKEP_HOST: options.host }),
    ...(options.context !== null && { SKEP_HOST: '', SKEP_CONTEXT: options.context }),
  };
  return runCommand(found, {
    address: () => daemonAddress(options, env),
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: () => process.stdin,
    env,
    cwd: process.cwd(),
    signal: signals.interrupted,
    takeSignals: (deliver) => signals.take(deliver),
  });
}

const signals = new ProcessSignals(process, (status) => process.exit(status));
// A reader that goes away (`skep ps | head`) is no error.
process.stdout.on('error', (err: NodeJS.ErrnoException) =>
  process.exit(err.code === 'EPIPE' ? 0 : 1),
);
// Not awaited at the top level: a pending top-level await would hide the exit status.
// The clock's timers do not keep a process alive, and a command may have nothing else to wait for.
const alive = new MessageChannel();
alive.port1.on('message', () => {});
void main(process.argv.slice(2), signals).then(async (status) => {
  alive.port1.close();
  // A pipe takes 64 KiB at once; the rest is written while its reader reads.
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  // Standard input may still be open.
  process.exit(status || process.exitCode || 0);
});

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((done) => {
    stream.write('', () => done());
  });
}
