/** `skep version`, `skep info`, `skep inspect`. */
import { createRequire } from 'node:module';
import type { EngineVersionJson } from '../../common/model/engine-json/system.ts';
import { contextInForce } from '../client/contexts.ts';
import { hasStatus } from '../client/transport.ts';
import { renderInspect } from '../output/listing.ts';
import { parseTemplate } from '../output/template.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
  printLine,
  warnLine,
} from './context.ts';
import { infoText } from './system-info.ts';

/** The version in package.json, which lies two or three folders up: beside cli/ or beside dist/. */
function clientVersion(): string {
  const require = createRequire(import.meta.url);
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (require(path) as { version: string }).version;
    } catch {
      // not there: the other place
    }
  }
  return 'unknown';
}

const CLIENT_API = '1.50';
/** Go's names. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

export const version: Configure = (command, context) => {
  command
    .option('-f, --format <template>', 'json or a template')
    .action(async ({ format }: { readonly format?: string }) => {
      const client = {
        Version: clientVersion(),
        ApiVersion: CLIENT_API,
        DefaultAPIVersion: CLIENT_API,
        NodeVersion: process.version,
        ...{ Os: process.platform, Arch: ARCHITECTURES[process.arch] ?? process.arch },
        Context: contextInForce(context.env),
      };
      let server: EngineVersionJson | null = null;
      let failure: unknown = null;
      try {
        server = await context.client.version();
      } catch (err) {
        failure = err;
      }
      const both = { Client: client, Server: server };
      if (format === undefined) context.stdout.write(versionText(client, server));
      else if (format === 'json') printLine(context, JSON.stringify(both));
      else printLine(context, parseTemplate(format, false).render(inGo(both)));
      if (failure === null) return;
      warnLine(context, errorLine(failure));
      throw new ExitError(1);
    });
};

/** Docker's templates call fields as Go does, its JSON otherwise. */
function inGo({ Client, Server }: { readonly Client: object; readonly Server: object | null }) {
  const named = (one: object): object =>
    'ApiVersion' in one ? { ...one, APIVersion: one.ApiVersion } : one;
  return { Client: named(Client), Server: Server && named(Server) };
}

function versionText(
  client: {
    readonly Version: string;
    readonly ApiVersion: string;
    readonly NodeVersion: string;
    readonly Os: string;
    readonly Arch: string;
    readonly Context: string;
  },
  server: EngineVersionJson | null,
): string {
  const lines = [
    'Client:',
    ` Version:           ${client.Version}`,
    ` API version:       ${client.ApiVersion}`,
    ` Node version:      ${client.NodeVersion}`,
    ` OS/Arch:           ${client.Os}/${client.Arch}`,
    ` Context:           ${client.Context}`,
    ...(server
      ? [
          '',
          'Server:',
          ` Version:          ${server.Version}`,
          ` API version:      ${server.ApiVersion} (minimum version ${server.MinAPIVersion ?? ''})`,
          ` OS/Arch:          ${server.Os ?? ''}/${server.Arch ?? ''}`,
          ` Kernel version:   ${server.KernelVersion ?? ''}`,
        ]
      : []),
  ];
  return `${lines.join('\n')}\n`;
}

export const info: Configure = (command, context) => {
  command
    .option('-f, --format <template>', 'json or a template')
    .action(async ({ format }: { readonly format?: string }) => {
      const found = await context.client.info();
      const client = { version: clientVersion(), contextName: contextInForce(context.env) };
      if (format === undefined) context.stdout.write(infoText(client, found));
      else if (format === 'json') printLine(context, JSON.stringify(found));
      else printLine(context, parseTemplate(format, false).render(found));
      for (const warning of found.Warnings ?? []) warnLine(context, warning);
    });
};

export const inspect: Configure = (command, context) => {
  command
    .argument('<name|id...>', 'of any object')
    .option('-f, --format <template>', 'json or a template')
    .option(
      '--type <kind>',
      'container, image, network, volume, service, task, node, secret, config',
    )
    .action(async (refs: readonly string[], flags: { format?: string; type?: string }) => {
      const found: unknown[] = [];
      const missing: string[] = [];
      for (const ref of refs) {
        const object = await findAny(context, ref, flags.type);
        if (object === undefined) missing.push(ref);
        else found.push(object);
      }
      context.stdout.write(renderInspect(found, flags.format));
      for (const ref of missing) warnLine(context, `no such ${flags.type ?? 'object'}: ${ref}`);
      if (missing.length > 0) throw new ExitError(1);
    });
};

/** The first kind that has it, in Docker's order. */
async function findAny(context: CommandContext, ref: string, type?: string): Promise<unknown> {
  const { client } = context;
  const kinds: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['container', () => client.container(ref)],
    ['image', () => client.image(ref)],
    ['network', () => client.network(ref)],
    ['volume', () => client.volume(ref)],
    ['service', () => client.service(ref, true)],
    ['task', () => client.task(ref)],
    ['node', () => client.node(ref)],
    ['secret', () => client.secret('secrets', ref)],
    ['config', () => client.secret('configs', ref)],
  ];
  for (const [kind, ask] of kinds) {
    if (type !== undefined && type !== kind) continue;
    try {
      return await ask();
    } catch (err) {
      // 503: this node is no manager and has none of the cluster's objects; 400: no name of an image.
      if (hasStatus(err, 404) || hasStatus(err, 400) || hasStatus(err, 503)) continue;
      throw err;
    }
  }
  return undefined;
}
