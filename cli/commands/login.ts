/** `skep login` and `skep logout`: credentials that docker and skep share. */
import { DockerConfig } from '../client/docker-config.ts';
import { askLine, askSecret } from './ask.ts';
import { type CommandContext, type Configure, printLine, UsageError, warnLine } from './context.ts';

const HUB = 'docker.io';

interface LoginFlags {
  readonly username?: string;
  readonly password?: string;
  readonly passwordStdin?: boolean;
}

export const login: Configure = (command, context) => {
  command
    .argument('[server]', 'host of the registry', HUB)
    .option('-u, --username <name>', 'user')
    .option('-p, --password <password>', 'password; others see it in the list of processes')
    .option('--password-stdin', 'password from standard input')
    .action(async (server: string, flags: LoginFlags) => {
      const domain = registryDomain(server);
      const config = new DockerConfig(context.env);
      const before = await config.get(domain);
      const credentials = await askCredentials(context, flags, before?.username ?? '');
      if (credentials.password === '') throw new UsageError('Password required');
      const { Status, IdentityToken } = await context.client.login({
        ...credentials,
        serveraddress: domain,
      });
      const kept = IdentityToken ? { ...credentials, identityToken: IdentityToken } : credentials;
      if (!(await config.set(domain, kept))) {
        warnLine(context, `WARNING! Your password will be stored unencrypted in ${config.path}.`);
        warnLine(context, 'Configure a credential helper to remove this warning.');
      }
      printLine(context, Status);
    });
};

export const logout: Configure = (command, context) => {
  command.argument('[server]', 'host of the registry', HUB).action(async (server: string) => {
    const domain = registryDomain(server);
    const removed = await new DockerConfig(context.env).remove(domain);
    printLine(
      context,
      removed ? `Removing login credentials for ${domain}` : `Not logged in to ${domain}`,
    );
  });
};

/** People give the URL, too. */
function registryDomain(server: string): string {
  const host = server.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  if (host === '') throw new UsageError(`invalid registry '${server}'`);
  return ['index.docker.io', 'registry-1.docker.io'].includes(host) ? HUB : host;
}

async function askCredentials(
  context: CommandContext,
  flags: LoginFlags,
  usual: string,
): Promise<{ username: string; password: string }> {
  if (flags.passwordStdin) {
    if (flags.password !== undefined) {
      throw new UsageError('--password and --password-stdin are mutually exclusive');
    }
    if (flags.username === undefined)
      throw new UsageError('Must provide --username with --password-stdin');
    const text = await wholeInput(context);
    return { username: flags.username, password: text.replace(/\r?\n$/, '') };
  }
  if (flags.password !== undefined) {
    warnLine(context, 'WARNING! Using --password via the CLI is insecure. Use --password-stdin.');
  } else if (!context.stdin.isTTY) {
    throw new UsageError('Cannot perform an interactive login from a non TTY device');
  }
  const username = flags.username ?? (await askLine(context, 'Username', usual));
  if (username === '') throw new UsageError('Username required');
  const password = flags.password ?? (await askSecret(context, 'Password'));
  return { username, password };
}

async function wholeInput({ stdin }: CommandContext): Promise<string> {
  let text = '';
  for await (const chunk of stdin as AsyncIterable<Buffer | string>) text += chunk.toString();
  return text;
}
