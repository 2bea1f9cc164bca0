/** The daemon's configuration file: the long names of its flags as keys of one YAML map. */
import { readFile } from 'node:fs/promises';
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { SkepError } from '../common/base/errors.ts';
import { LOG_LEVELS } from '../common/base/log.ts';
import { REGISTRY_LIST_KEYS, REGISTRY_TEXT_KEYS } from './registry-options.ts';
import { CGROUP_NAME, SWITCH_WORDS } from './setting-words.ts';

const TEXT_KEYS = [
  ...['data-dir', 'listen-addr', 'advertise-addr', 'hostname', 'cgroup-parent', 'image-gc'],
  ...['group', 'socket-mode', 'tlscacert', 'tlscert', 'tlskey', 'userns-remap', 'log-driver'],
  'default-runtime',
  ...REGISTRY_TEXT_KEYS,
];
const SWITCH_KEYS = ['tls', 'tlsverify', 'api-read-on-workers', 'api-exec-on-workers'];
const LIST_KEYS = [
  'host',
  'label',
  'node-generic-resource',
  'log-opt',
  'add-runtime',
  'forbid',
  ...REGISTRY_LIST_KEYS,
];

/** Throws `invalid-argument` with file, line and column. */
export async function readConfigFile(path: string): Promise<Record<string, never>> {
  const lines = new LineCounter();
  const document = parseDocument(await textOf(path), { lineCounter: lines });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error) {
    throw new SkepError('invalid-argument', `${at(error.pos[0])}: ${error.message.split('\n')[0]}`);
  }
  if (document.contents === null) return {};
  if (!isMap(document.contents)) {
    throw new SkepError('invalid-argument', `${path}:1:1: expected a map of settings`);
  }
  const out: Record<string, unknown> = {};
  for (const { key, value } of document.contents.items) {
    const name = String(isScalar(key) ? key.value : key);
    const place = at(isScalar(key) ? (key.range?.[0] ?? 0) : 0);
    out[camel(name)] = settingOf(name, isSeq(value) ? value.items : value, place);
  }
  return out as Record<string, never>;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SkepError('invalid-argument', `read configuration ${path}`, { cause });
  }
}

function settingOf(name: string, value: unknown, place: string): unknown {
  const wrong = (rule: string): never => {
    throw new SkepError('invalid-argument', `${place}: ${name} must be ${rule}`);
  };
  if (LIST_KEYS.includes(name)) {
    const list = Array.isArray(value) ? value : isScalar(value) ? [value] : wrong('a list');
    return list.map((item) => textIn(item) ?? wrong('a list of single values'));
  }
  const text = textIn(value) ?? wrong('a single value');
  if (name === 'cgroup-parent' && !CGROUP_NAME.test(text)) {
    return wrong('made of letters, digits, "_", "." and "-"');
  }
  if (SWITCH_KEYS.includes(name)) return SWITCH_WORDS.get(text) ?? wrong('true or false');
  if (TEXT_KEYS.includes(name)) return text;
  if (name === 'log-level') {
    return LOG_LEVELS.some((level) => level === text)
      ? text
      : wrong(`one of ${LOG_LEVELS.join(', ')}`);
  }
  throw new SkepError('invalid-argument', `${place}: unknown setting '${name}'`);
}

/** The text of a scalar; null when there is none. */
function textIn(value: unknown): string | null {
  return isScalar(value) && value.value !== null ? String(value.value) : null;
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
