/** The daemon's configuration file: the long names of its flags as keys of one YAML map. */
import { readFile } from 'node:fs/promises';
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { SkepError } from '../common/base/errors.ts';
import { LOG_LEVELS } from '../common/base/log.ts';

const TEXT_KEYS = ['data-dir', 'listen-addr', 'advertise-addr', 'hostname', 'cgroup-parent'];
const LIST_KEYS = ['host', 'insecure-registry', 'label'];

/** Throws `invalid-argument` with file, line and column. */
export async function readConfigFile(path: string): Promise<Record<string, never>> {
  const lines = new LineCounter();
  const document = parseDocument(await readFile(path, 'utf8'), { lineCounter: lines });
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
    out[camel(name)] = settingOf(name, isSeq(value) ? value.toJSON() : value, place);
  }
  return out as Record<string, never>;
}

function settingOf(name: string, value: unknown, place: string): unknown {
  const wrong = (rule: string): never => {
    throw new SkepError('invalid-argument', `${place}: ${name} must be ${rule}`);
  };
  if (LIST_KEYS.includes(name)) {
    const list = Array.isArray(value) ? value : isScalar(value) ? [value.value] : wrong('a list');
    return list.map(String);
  }
  const text = isScalar(value) ? String(value.value) : wrong('a single value');
  if (TEXT_KEYS.includes(name)) return text;
  if (name === 'log-level') {
    return LOG_LEVELS.some((level) => level === text)
      ? text
      : wrong(`one of ${LOG_LEVELS.join(', ')}`);
  }
  throw new SkepError('invalid-argument', `${place}: unknown setting '${name}'`);
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
