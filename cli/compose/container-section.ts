/** The keys of a service that say what runs in its containers, and as what. */
import { isIP } from 'node:net';
import type {
  ContainerSpecJson,
  HealthcheckJson,
  UlimitJson,
} from '../../common/model/engine-json/container-spec.ts';
import { parseDotenv } from './dotenv.ts';
import { normaliseCapabilities, parseEnvFile, parseExtraHost } from './files.ts';
import { isolationSection } from './isolation-section.ts';
import type { Fields, Item } from './item.ts';
import { mountSection } from './mount-section.ts';
import { type StackScope, withNamespace } from './scope.ts';
import { splitShellWords } from './shell-words.ts';
import { some } from './some.ts';
import { parseDurationNanos } from './values.ts';

export function containerSection(
  scope: StackScope,
  fields: Fields,
  image: string,
): ContainerSpecJson {
  const text = (name: string): string | undefined => fields.get(name)?.text();
  const command = commandOf(fields.get('entrypoint'));
  const args = commandOf(fields.get('command'));
  const grace = fields.get('stop_grace_period')?.parsed(parseDurationNanos);
  const health = healthOf(fields.get('healthcheck'));
  const add = normaliseCapabilities(fields.get('cap_add')?.texts() ?? []);
  const drop = normaliseCapabilities(fields.get('cap_drop')?.texts() ?? []);
  const init = fields.get('init')?.boolean();
  return {
    Image: image,
    Labels: withNamespace(scope.request.name, labelsOf(scope, fields)),
    ...(command && { Command: command }),
    ...(args && { Args: args }),
    ...some('Hostname', text('hostname')),
    ...some('Env', environmentOf(scope, fields)),
    ...some('Dir', text('working_dir')),
    ...some('User', text('user')),
    ...some('Groups', fields.get('group_add')?.texts()),
    ...some('StopSignal', text('stop_signal')),
    ...(grace !== undefined && { StopGracePeriod: grace }),
    ...some('ReadOnly', fields.get('read_only')?.boolean()),
    ...(init !== undefined && { Init: init }),
    ...(health && { Healthcheck: health }),
    ...some('Mounts', mountSection(scope, fields)),
    ...some('Hosts', hostsOf(fields.get('extra_hosts'))),
    DNSConfig: {
      ...some('Nameservers', fields.get('dns')?.texts()),
      ...some('Search', fields.get('dns_search')?.texts()),
      ...some('Options', fields.get('dns_opt')?.texts()),
    },
    ...some('Sysctls', fields.get('sysctls')?.stringMap()),
    ...some('CapabilityAdd', add),
    ...some('CapabilityDrop', droppedCapabilities(drop, add)),
    ...some('Ulimits', ulimitsOf(fields.get('ulimits'))),
    ...some('OomScoreAdj', oomScore(fields.get('oom_score_adj'))),
    ...isolationSection(scope, fields),
  };
}

/** `ALL` says it alone; what is added as well is not dropped. */
function droppedCapabilities(drop: readonly string[], add: readonly string[]): readonly string[] {
  return drop.includes('ALL') ? ['ALL'] : drop.filter((name) => !add.includes(name));
}

/** A text is split as a shell would; null = the image's own. */
function commandOf(item: Item | undefined): readonly string[] | undefined {
  if (!item || item.isNull || item.isBroken) return undefined;
  return item.isList ? item.texts() : (item.parsed(splitShellWords) ?? []);
}

/** Files first, `labels` over them. */
function labelsOf(scope: StackScope, fields: Fields): Record<string, string> {
  const files = listOf(fields.get('label_file')).flatMap((item) =>
    variables(scope, item, 'dotenv'),
  );
  return { ...Object.fromEntries(files), ...fields.get('labels')?.stringMap() };
}

/** Files first, `environment` over them; a name alone takes the client's value. Sorted. */
function environmentOf(scope: StackScope, fields: Fields): string[] {
  const { env } = scope.request;
  const values = new Map<string, string | null>();
  for (const item of listOf(fields.get('env_file'))) {
    for (const [key, value] of envFile(scope, item)) values.set(key, value);
  }
  for (const [key, value] of fields.get('environment')?.pairs() ?? []) {
    values.set(key, value ?? env[key] ?? null);
  }
  return [...values]
    .map(([key, value]) => (value === null ? key : `${key}=${value}`))
    .sort((a, b) => (a < b ? -1 : 1));
}

function listOf(item: Item | undefined): readonly Item[] {
  if (!item) return [];
  return item.isList ? item.items() : [item];
}

const ENV_FORMATS = ['raw', 'dotenv'] as const;
type EnvFormat = (typeof ENV_FORMATS)[number];

/** A path, or `{path, required, format}`. */
function envFile(scope: StackScope, item: Item): [string, string][] {
  if (!item.isMap) return variables(scope, item, 'raw');
  const fields = item.fields();
  const path = fields.get('path');
  const format = fields.get('format')?.oneOf(ENV_FORMATS) ?? 'raw';
  if (!path) return [];
  return variables(scope, path, format, fields.get('required')?.boolean() ?? true);
}

/** `raw`: every line as it stands, as `docker stack deploy` reads it; `dotenv`: as `.env` is read. */
function variables(
  scope: StackScope,
  item: Item,
  format: EnvFormat,
  required = true,
): [string, string][] {
  const path = item.text();
  if (path === undefined) return [];
  const { env } = scope.request;
  const bytes = scope.readFile(path, item.place, required);
  if (bytes === null) return [];
  const text = Buffer.from(bytes).toString('utf8');
  const parse = format === 'raw' ? parseEnvFile : parseDotenv;
  return item.attempt(() => parse(text, path, env)) ?? [];
}

function healthOf(item: Item | undefined): HealthcheckJson | undefined {
  if (!item) return undefined;
  const fields = item.fields();
  const test = fields.get('test');
  if (fields.get('disable')?.boolean() === true) {
    test?.problem(`${item.path}: test and disable cannot be set at the same time`);
    return { Test: ['NONE'] };
  }
  const duration = (name: string): number | undefined =>
    fields.get(name)?.parsed(parseDurationNanos);
  return {
    ...(test && { Test: healthTest(test) }),
    ...some('Interval', duration('interval')),
    ...some('Timeout', duration('timeout')),
    ...some('StartPeriod', duration('start_period')),
    ...some('StartInterval', duration('start_interval')),
    ...some('Retries', fields.get('retries')?.integer(0)),
  };
}

function healthTest(item: Item): readonly string[] {
  if (!item.isList) return ['CMD-SHELL', item.text() ?? ''];
  const words = item.texts();
  if (!['NONE', 'CMD', 'CMD-SHELL'].includes(words[0] ?? '')) {
    item.problem(`${item.path}: the first word of a list must be NONE, CMD or CMD-SHELL`);
  }
  return words;
}

/** A map `name: address` or a list of `name:address`; as the API has them, `address name`. */
function hostsOf(item: Item | undefined): string[] {
  if (!item) return [];
  const hosts: [Item, string | undefined][] = item.isList
    ? item.items().map((entry) => [entry, entry.parsed(parseExtraHost)])
    : item
        .entries()
        .flatMap(([name, entry]) =>
          entry
            .texts()
            .map((address): [Item, string] => [
              entry,
              `${address.replace(/^\[(.*)\]$/, '$1')} ${name}`,
            ]),
        );
  return hosts.flatMap(([entry, host]) => {
    if (host === undefined) return [];
    const [address = ''] = host.split(' ');
    if (isIP(address) === 0) entry.problem(`${entry.path}: "${address}" is no IP address`);
    return [host];
  });
}

/** Sorted by name. */
function ulimitsOf(item: Item | undefined): UlimitJson[] {
  const limits = (item?.entries() ?? []).flatMap(([name, limit]): UlimitJson[] => {
    if (!limit.isMap) {
      const both = limit.integer(-1);
      return both === undefined ? [] : [{ Name: name, Soft: both, Hard: both }];
    }
    const fields = limit.fields();
    const soft = fields.get('soft')?.integer(-1);
    const hard = fields.get('hard')?.integer(-1);
    if (soft === undefined || hard === undefined) return [];
    if (hard !== -1 && (soft > hard || soft === -1)) {
      limit.problem(`${limit.path}: soft is above hard`);
    }
    return [{ Name: name, Soft: soft, Hard: hard }];
  });
  return limits.sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

const OOM_SCORE_MAX = 1000;

function oomScore(item: Item | undefined): number | undefined {
  const score = item?.integer();
  if (item && score !== undefined && Math.abs(score) > OOM_SCORE_MAX) {
    item.problem(`${item.path} must be from -${OOM_SCORE_MAX} to ${OOM_SCORE_MAX}: got ${score}`);
  }
  return score;
}
