/** `skep context`: names for the daemons of several clusters. */
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { packContext, unpackContext } from '../client/context-archive.ts';
import {
  type ContextMeta,
  ContextStore,
  contextInForce,
  DEFAULT_CONTEXT,
  defaultHost,
  type StoredContext,
  type TlsFileName,
  type TlsMaterial,
} from '../client/contexts.ts';
import { parseEndpoint } from '../client/endpoint.ts';
import { parseCsv } from '../compose/csv.ts';
import { renderListing } from '../output/listing.ts';
import { requireNoTerminal, writeOut } from './binary-output.ts';
import {
  type CommandContext,
  type Configure,
  eachOf,
  printLine,
  UsageError,
  warnLine,
} from './context.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';

const storeOf = ({ env }: CommandContext): ContextStore => new ContextStore(env);

// ---- making and changing ------------------------------------------------------------------------

interface ChangeFlags {
  readonly description?: string;
  readonly docker?: string;
}

export const create: Configure = (command, context) => {
  command
    .argument('<context>', 'name')
    .option('--description <text>', 'about it')
    .option('--docker <endpoint>', ENDPOINT_WORDS)
    .option('--from <context>', 'with what this one says')
    .action((name: string, flags: ChangeFlags & { readonly from?: string }) => {
      const store = storeOf(context);
      if (store.get(name)?.owner === 'skep')
        throw new UsageError(`context "${name}" already exists`);
      if (flags.from !== undefined && flags.docker !== undefined) {
        throw new UsageError('cannot use --docker when --from is set');
      }
      const source = flags.from === undefined ? null : sourceOf(context, flags.from);
      const endpoint = source ?? endpointOf(context, flags.docker);
      const description = flags.description ?? source?.description;
      store.write(metaWith(name, description, endpoint), endpoint.tls);
      printLine(context, name);
      warnLine(context, `Successfully created context "${name}"`);
    });
};

export const update: Configure = (command, context) => {
  command
    .argument('<context>', 'name')
    .option('--description <text>', 'about it')
    .option('--docker <endpoint>', ENDPOINT_WORDS)
    .action((name: string, flags: ChangeFlags) => {
      const store = storeOf(context);
      const before = store.requireOwn(name);
      const old = { ...before.meta.Endpoints.docker, tls: store.tlsMaterial(before) };
      const endpoint =
        flags.docker === undefined
          ? { host: old.Host ?? '', skipsVerify: old.SkipTLSVerify ?? false, tls: old.tls }
          : endpointOf(context, flags.docker);
      const { Metadata, Endpoints } = before.meta;
      const description = flags.description ?? Metadata.Description;
      const { Description: _, ...others } = Metadata;
      const next = metaWith(name, description, endpoint);
      // What other tools keep there stays.
      const meta = {
        ...{ ...before.meta, Metadata: { ...others, ...next.Metadata } },
        Endpoints: { ...Endpoints, ...next.Endpoints },
      };
      store.write(meta, endpoint.tls);
      printLine(context, name);
      warnLine(context, `Successfully updated context "${name}"`);
    });
};

const ENDPOINT_WORDS =
  'host=URL[,ca=FILE][,cert=FILE][,key=FILE][,skip-tls-verify=true], or from=CONTEXT';

interface NewEndpoint {
  readonly host: string;
  readonly skipsVerify: boolean;
  readonly tls: TlsMaterial;
}

function metaWith(
  name: string,
  description: string | undefined,
  { host, skipsVerify }: NewEndpoint,
): ContextMeta {
  return {
    Name: name,
    Metadata: description ? { Description: description } : {},
    Endpoints: { docker: { Host: host, SkipTLSVerify: skipsVerify } },
  };
}

const FILE_KEYS: Readonly<Record<string, TlsFileName>> = {
  ca: 'ca.pem',
  cert: 'cert.pem',
  key: 'key.pem',
};

/** Throws `UsageError` for words that there are not. */
function endpointOf(context: CommandContext, text: string | undefined): NewEndpoint {
  if (text === undefined) throw new UsageError('--docker says which daemon it is: host=URL');
  let host = '';
  let skipsVerify = false;
  const tls: Partial<Record<TlsFileName, string>> = {};
  for (const { key, value: given } of parseCsv(text)) {
    const value = given ?? '';
    const file = FILE_KEYS[key];
    if (key === 'from') return sourceOf(context, value);
    if (key === 'host') host = value;
    else if (key === 'skip-tls-verify') skipsVerify = booleanOf(value);
    else if (file !== undefined) tls[file] = readFileSync(resolve(context.cwd, value), 'utf8');
    else throw new UsageError(`--docker ${text}: unknown key '${key}'`);
  }
  if (host === '') throw new UsageError(`--docker ${text}: expected host=URL`);
  parseEndpoint(host, null); // says what is wrong with it
  return { host, skipsVerify, tls };
}

function booleanOf(text: string): boolean {
  if (['1', 'true'].includes(text)) return true;
  if (['0', 'false'].includes(text)) return false;
  throw new UsageError(`--docker skip-tls-verify=${text}: expected true or false`);
}

/** What another context says. */
function sourceOf(
  context: CommandContext,
  name: string,
): NewEndpoint & { readonly description?: string } {
  if (name === DEFAULT_CONTEXT)
    return { host: defaultHost(context.env), skipsVerify: false, tls: {} };
  const store = storeOf(context);
  const found = store.require(name);
  const { Host = '', SkipTLSVerify = false } = found.meta.Endpoints.docker ?? {};
  const { Description } = found.meta.Metadata;
  return {
    ...{ host: Host, skipsVerify: SkipTLSVerify, tls: store.tlsMaterial(found) },
    ...(Description !== undefined && { description: Description }),
  };
}

// ---- looking ------------------------------------------------------------------------------------

interface ListFlags {
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Configure = (command, context) => {
  command
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'names only')
    .action((flags: ListFlags) => {
      const now = contextInForce(context.env);
      const stored = storeOf(context).list((words) => warnLine(context, words));
      const rows = [
        { name: DEFAULT_CONTEXT, description: '', host: defaultHost(context.env), owner: 'skep' },
        ...stored.map(({ name, meta, owner }) => ({
          name,
          description: meta.Metadata.Description ?? '',
          host: meta.Endpoints.docker?.Host ?? '',
          owner,
        })),
      ];
      if (!rows.some(({ name }) => name === now)) {
        rows.push({ name: now, description: '', host: '', owner: '' });
      }
      const isTable = !flags.quiet && (flags.format ?? 'table').startsWith('table');
      context.stdout.write(
        renderListing(
          {
            columns: [
              ['NAME', 'Name'],
              ['DESCRIPTION', 'Description'],
              ['DOCKER ENDPOINT', 'DockerEndpoint'],
              ['ERROR', 'Error'],
            ],
            rows: rows.map(({ name, description, host, owner }) => ({
              Name: isTable && name === now ? `${name} *` : name,
              Description: description,
              DockerEndpoint: host,
              Current: String(name === now),
              Owner: owner,
              Error: owner === '' ? 'context not found' : '',
            })),
            quietField: 'Name',
          },
          flags,
        ),
      );
    });
};

export const inspect: Configure = (command, context) => {
  command
    .argument('[context...]', 'names; default: the one in force')
    .option('-f, --format <template>', 'json or a template')
    .action((names: readonly string[], flags: InspectFlags) =>
      inspectEach(context, names.length > 0 ? names : [contextInForce(context.env)], flags, {
        noun: 'context',
        find: async (name) => shown(context, name),
      }),
    );
};

function shown(context: CommandContext, name: string): object {
  if (name === DEFAULT_CONTEXT) {
    const docker = { Host: defaultHost(context.env), SkipTLSVerify: false };
    return {
      ...{ Name: name, Metadata: {}, Endpoints: { docker }, TLSMaterial: {} },
      Storage: { MetadataPath: '<IN MEMORY>', TLSPath: '<IN MEMORY>' },
    };
  }
  const { meta, owner, tlsFiles, metadataPath, tlsPath }: StoredContext =
    storeOf(context).require(name);
  return {
    ...meta,
    TLSMaterial: tlsFiles.length > 0 ? { docker: tlsFiles } : {},
    Storage: { MetadataPath: metadataPath, TLSPath: tlsPath },
    Owner: owner,
  };
}

export const show: Configure = (command, context) => {
  command.action(() => printLine(context, contextInForce(context.env)));
};

// ---- choosing and removing ----------------------------------------------------------------------

export const use: Configure = (command, context) => {
  command.argument('<context>', 'name, or default').action((name: string) => {
    const store = storeOf(context);
    if (name !== DEFAULT_CONTEXT) store.require(name);
    store.setCurrent(name === DEFAULT_CONTEXT ? null : name);
    printLine(context, name);
    warnLine(context, `Current context is now "${name}"`);
    const over = ['SKEP_HOST', 'SKEP_CONTEXT', 'DOCKER_HOST', 'DOCKER_CONTEXT'];
    const nearer = over.find((variable) => context.env[variable]);
    if (nearer !== undefined && contextInForce(context.env) !== name) {
      warnLine(context, `Warning: ${nearer} environment variable overrides the active context.`);
    }
  });
};

export const rm: Configure = (command, context) => {
  command
    .argument('<context...>', 'names')
    .option('-f, --force', 'also the one in force, and those that are not there')
    .action((names: readonly string[], { force }: { readonly force?: boolean }) =>
      eachOf(context, names, async (name) => {
        const store = storeOf(context);
        if (name === DEFAULT_CONTEXT) throw new UsageError('context "default" cannot be removed');
        if (force && store.get(name) === null) return;
        const found = store.requireOwn(name);
        const isCurrent = store.current() === name;
        if (!force && (isCurrent || contextInForce(context.env) === name)) {
          throw new UsageError(`context "${name}" is in use, set -f flag to force remove`);
        }
        store.remove(found.name);
        if (isCurrent) store.setCurrent(null);
        printLine(context, name);
      }),
    );
};

// ---- out and in ---------------------------------------------------------------------------------

export const exportContext: Configure = (command, context) => {
  command
    .argument('<context>', 'name')
    .argument('[file]', 'default: CONTEXT.dockercontext; - = standard output')
    .action(async (name: string, file = `${name}.dockercontext`) => {
      const store = storeOf(context);
      const found = store.require(name);
      const tar = packContext(found.meta, store.tlsMaterial(found));
      if (file === '-') {
        requireNoTerminal(context, 'cowardly refusing to export to a terminal');
        await writeOut(context, tar);
        return;
      }
      const path = resolve(context.cwd, file);
      await pipeline(tar, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
      warnLine(context, `Written file "${file}"`);
    });
};

export const importContext: Configure = (command, context) => {
  command
    .argument('<context>', 'its name here')
    .argument('<file>', 'as export writes it; - = standard input')
    .action(async (name: string, file: string) => {
      const store = storeOf(context);
      if (store.get(name)?.owner === 'skep')
        throw new UsageError(`context "${name}" already exists`);
      const source: Readable =
        file === '-' ? context.stdin : createReadStream(resolve(context.cwd, file));
      const { meta, tls } = await unpackContext(source, file);
      store.write({ ...meta, Name: name }, tls);
      printLine(context, name);
      warnLine(context, `Successfully imported context "${name}"`);
    });
};
