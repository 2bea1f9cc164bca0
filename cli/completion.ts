/**
 * What could come next on a command line: commands, flags, and names that the cluster has. The shells' scripts ask for
 * it with the words so far (commands/completion.ts).
 */
import { Command, type Option } from 'commander';
import { NAMESPACE_LABEL } from '../common/model/stack.ts';
import { ContextStore, DEFAULT_CONTEXT } from './client/contexts.ts';
import type { EngineClient } from './client/engine-client.ts';
import { type CommandEntry, type Groups, pathOf } from './command-entry.ts';
import type { CommandContext, Configure } from './commands/context.ts';
import { GLOBAL_FLAGS } from './global-options.ts';

export interface CompletionTables {
  readonly groups: Groups;
  readonly commands: Readonly<Record<string, CommandEntry>>;
}

export interface Candidate {
  readonly word: string;
  /** '' = nothing to say */
  readonly about: string;
}

/** What a place on the command line is for. */
type Kind =
  | 'node'
  | 'service'
  | 'stack'
  | 'network'
  | 'secret'
  | 'config'
  | 'volume'
  | 'image'
  | 'container'
  | 'context'
  | 'file'
  | 'role';

/** Operands by command; the last one counts for those that follow. */
const OPERANDS: Readonly<Record<string, readonly Kind[]>> = {
  ...each('node', 'demote drain inspect promote ps rm update', ['node']),
  ...each('service', 'explain inspect logs ps restart rm rollback scale start stats stop top', [
    'service',
  ]),
  ...each('service', 'exec update', ['service']),
  ...each(
    'stack',
    'deploy diff events history ps pull restart rm rollback services start stats stop top',
    ['stack'],
  ),
  ...each('stack', 'exec logs', ['stack', 'service']),
  ...each('stack', 'config lint', ['file']),
  ...each('network', 'inspect rm', ['network']),
  ...each('network', 'connect disconnect', ['network', 'container']),
  ...each('secret', 'inspect rm', ['secret']),
  ...each('config', 'inspect rm', ['config']),
  ...each('volume', 'export inspect rm', ['volume']),
  ...each('volume', 'import', ['volume', 'file']),
  ...each('image', 'history inspect push rm save tag', ['image']),
  ...each('image', 'import load', ['file']),
  ...each('container', 'create run', ['image', 'file']),
  ...each(
    'container',
    'attach commit diff exec export inspect kill logs pause port rename restart rm start stats stop top unpause update wait',
    ['container'],
  ),
  ...each('context', 'export inspect rm update use', ['context']),
  'container cp': ['file'],
  'swarm join-token': ['role'],
  'dev load': ['file'],
  inspect: ['container'],
};

function each(group: string, commands: string, kinds: readonly Kind[]): Record<string, Kind[]> {
  return Object.fromEntries(commands.split(' ').map((name) => [`${group} ${name}`, [...kinds]]));
}

/** Values of flags. */
const FLAG_VALUES: Readonly<Record<string, Kind>> = {
  '--network': 'network',
  '--network-add': 'network',
  '--network-rm': 'network',
  '--secret': 'secret',
  '--secret-add': 'secret',
  '--secret-rm': 'secret',
  '--config': 'config',
  '--config-add': 'config',
  '--config-rm': 'config',
  '--image': 'image',
  '--from': 'context',
  '--context': 'context',
  '--compose-file': 'file',
  '--env-file': 'file',
  '--output': 'file',
  '--input': 'file',
  '--host': 'file',
  '--tlscacert': 'file',
  '--tlscert': 'file',
  '--tlskey': 'file',
};

/** A shell waits for the answer: a daemon that is slower says nothing. */
const ANSWER_MS = 2_000;
/** Tells the scripts to complete the names of files. */
const FILES: Candidate = { word: ':files', about: '' };

/** The hidden command that the scripts call. */
export const complete =
  (tables: CompletionTables): Configure =>
  (command, context) => {
    command
      .passThroughOptions()
      .argument('[words...]', 'so far; the last one is under way')
      .action(async (words: readonly string[]) => {
        for (const { word, about } of await candidates(tables, context, words)) {
          context.stdout.write(about === '' ? `${word}\n` : `${word}\t${about}\n`);
        }
      });
  };

/** Those that begin as the last word does. */
export async function candidates(
  tables: CompletionTables,
  context: CommandContext,
  words: readonly string[],
): Promise<readonly Candidate[]> {
  const open = words.at(-1) ?? '';
  const found = await possible(tables, context, words.slice(0, -1), open);
  return found.filter((one) => one === FILES || one.word.startsWith(open));
}

async function possible(
  { groups, commands }: CompletionTables,
  context: CommandContext,
  before: readonly string[],
  open: string,
): Promise<readonly Candidate[]> {
  const [first, second, ...rest] = before;
  if (first === undefined) {
    const inline = inlineFlag(open);
    if (inline !== null) return withFlag(inline, await flagValues(context, inline));
    if (open.startsWith('-')) return GLOBAL_FLAGS.map((word) => ({ word, about: '' }));
    return [...summaries(groups), ...summaries(commands)];
  }
  // A global flag that waits for its value; those with one are not among the words.
  if (GLOBAL_FLAGS.includes(first)) return second === undefined ? flagValues(context, first) : [];
  if (Object.hasOwn(commands, first)) {
    const entry = commands[first]!;
    const path = pathOf(groups, entry) ?? first;
    return ofCommand(context, { path, entry, before: before.slice(1), open });
  }
  if (!Object.hasOwn(groups, first)) return [];
  const group = groups[first]!.commands;
  if (second === undefined) return summaries(group);
  const [name, entry] =
    Object.entries(group).find(
      ([word, { aliases }]) => word === second || aliases?.includes(second),
    ) ?? [];
  if (!entry) return [];
  return ofCommand(context, { path: `${first} ${name}`, entry, before: rest, open });
}

const summaries = (table: Readonly<Record<string, { readonly summary: string }>>): Candidate[] =>
  Object.entries(table).map(([word, { summary }]) => ({ word, about: summary }));

interface Asked {
  readonly path: string;
  readonly entry: CommandEntry;
  /** words between the command and the open one */
  readonly before: readonly string[];
  readonly open: string;
}

async function ofCommand(
  context: CommandContext,
  { path, entry, before, open }: Asked,
): Promise<readonly Candidate[]> {
  const command = new Command();
  (await entry.load())(command, context);
  const flags = command.options.filter(({ hidden }) => !hidden);
  const inline = inlineFlag(open);
  if (inline !== null) {
    const option = flags.find(({ long }) => long === inline);
    return withFlag(inline, option ? await valuesOf(context, option) : []);
  }
  const { operands, pending } = walk(flags, before);
  if (pending) return valuesOf(context, pending);
  if (open.startsWith('-')) {
    return [...flags.map(flagCandidate), { word: '--help', about: 'Print usage' }];
  }
  const kinds = OPERANDS[path];
  if (!kinds) return [];
  const kind = kinds[Math.min(operands, kinds.length - 1)]!;
  const named = await namesOf(context, kind);
  if (path === 'service scale') return named.map((one) => ({ ...one, word: `${one.word}=` }));
  if (path !== 'container cp') return named;
  const containers = await namesOf(context, 'container');
  return [FILES, ...containers.map((one) => ({ ...one, word: `${one.word}:` }))];
}

/** The flag of `--flag=value`, whose value is under way; null for other words. */
const inlineFlag = (word: string): string | null => /^(--[^=]+)=/.exec(word)?.[1] ?? null;

const withFlag = (flag: string, values: readonly Candidate[]): readonly Candidate[] =>
  values.map((one) => (one === FILES ? one : { ...one, word: `${flag}=${one.word}` }));

/** How many operands there were, and the flag that waits for its value. */
function walk(
  flags: readonly Option[],
  words: readonly string[],
): { readonly operands: number; readonly pending: Option | null } {
  let operands = 0;
  let pending: Option | null = null;
  for (const word of words) {
    if (pending) pending = null;
    else if (!word.startsWith('-') || word === '-') operands++;
    else if (!word.includes('=')) {
      const option = flags.find(({ long, short }) => long === word || short === word);
      pending = option?.required ? option : null;
    }
  }
  return { operands, pending };
}

const flagCandidate = ({ long, short, description }: Option): Candidate => ({
  word: long ?? short ?? '',
  about: description,
});

async function valuesOf(
  context: CommandContext,
  { long, argChoices }: Option,
): Promise<readonly Candidate[]> {
  if (argChoices) return argChoices.map((word) => ({ word, about: '' }));
  if (long === '--format') return ['table', 'json'].map((word) => ({ word, about: '' }));
  return flagValues(context, long ?? '');
}

async function flagValues(context: CommandContext, long: string): Promise<readonly Candidate[]> {
  const kind = FLAG_VALUES[long];
  return kind ? namesOf(context, kind) : [];
}

/** None when the daemon cannot be asked: a shell shows no errors. */
async function namesOf(context: CommandContext, kind: Kind): Promise<readonly Candidate[]> {
  if (kind === 'file') return [FILES];
  if (kind === 'role') return ['worker', 'manager'].map((word) => ({ word, about: '' }));
  if (kind === 'context') {
    const stored = new ContextStore(context.env).list().map(({ name }) => name);
    return [DEFAULT_CONTEXT, ...stored].map((word) => ({ word, about: '' }));
  }
  const ask = NAMES[kind];
  try {
    const late = context.clock.sleep(ANSWER_MS, context.signal).then(() => []);
    const names = await Promise.race([ask(context.client), late]);
    return [...new Set(names)].sort().map((word) => ({ word, about: '' }));
  } catch {
    return [];
  }
}

const NAMES: Readonly<
  Record<
    Exclude<Kind, 'file' | 'role' | 'context'>,
    (client: EngineClient) => Promise<readonly string[]>
  >
> = {
  node: async (client) => [
    'self',
    ...(await client.nodes()).map(({ ID, Description }) => Description?.Hostname ?? ID),
  ],
  service: async (client) => (await client.services()).map(({ Spec }) => Spec.Name),
  stack: async (client) =>
    (await client.services({ label: [NAMESPACE_LABEL] })).map(
      ({ Spec }) => Spec.Labels?.[NAMESPACE_LABEL] ?? '',
    ),
  network: async (client) => (await client.networks()).map(({ Name }) => Name),
  secret: async (client) => (await client.secrets('secrets')).map(({ Spec }) => Spec.Name),
  config: async (client) => (await client.secrets('configs')).map(({ Spec }) => Spec.Name),
  volume: async (client) => (await client.volumes()).map(({ Name }) => Name),
  image: async (client) =>
    (await client.images()).flatMap(({ RepoTags }) =>
      (RepoTags ?? []).filter((tag) => !tag.includes('<none>')),
    ),
  container: async (client) =>
    (await client.containers({ all: true })).flatMap(({ Names }) =>
      Names.map((name) => name.replace(/^\//, '')),
    ),
};
