/** Files of environment variables, and the parts of specs that flags and stack files share. */
import { SkepError } from '../../common/base/errors.ts';
import type { UlimitJson } from '../../common/model/engine-json/container-spec.ts';
import { problemAt, SourceText, StackFileError } from './problems.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Lines `KEY=VALUE`; blank ones and those that begin with `#` are skipped; no quotes. A key alone
 * takes the client's value, or is dropped. Throws `StackFileError` with the place.
 */
export function parseEnvFile(text: string, path: string, env: Environment): [string, string][] {
  const out: [string, string][] = [];
  const source = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  let next = 0;
  for (const raw of source.split('\n')) {
    const start = next + raw.length - raw.trimStart().length;
    next += raw.length + 1;
    const line = raw.trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const at = line.indexOf('=');
    const key = at < 0 ? line.trimEnd() : line.slice(0, at);
    if (key === '' || /\s/.test(key)) {
      const place = { source: new SourceText(path, source), start, end: start + key.length };
      const rule = `variable '${key}' has white space or no name`;
      throw new StackFileError([problemAt(place, rule)]);
    }
    const value = at < 0 ? env[key] : line.slice(at + 1);
    if (value !== undefined) out.push([key, value]);
  }
  return out;
}

/** `host:ip` or `host=ip` as the API has it: `ip host`. Throws `invalid-argument`. */
export function parseExtraHost(text: string): string {
  const match = /^([^\s:=]+)[:=]\s*(\S+)$/.exec(text.trim());
  if (!match) {
    throw new SkepError('invalid-argument', `invalid host "${text}": expected NAME:ADDRESS`);
  }
  return `${match[2]!.replace(/^\[(.*)\]$/, '$1')} ${match[1]}`;
}

/** `name=soft[:hard]`. Throws `invalid-argument`. */
export function parseUlimit(text: string): UlimitJson {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (!match)
    throw new SkepError('invalid-argument', `invalid ulimit "${text}": expected NAME=SOFT[:HARD]`);
  const soft = Number(match[2]);
  const hard = match[3] === undefined ? soft : Number(match[3]);
  if (hard !== -1 && (soft > hard || soft === -1)) {
    throw new SkepError('invalid-argument', `invalid ulimit "${text}": soft above hard`);
  }
  return { Name: match[1]!, Soft: soft, Hard: hard };
}

/** Upper case with `CAP_`; `ALL` stays. Sorted, each once. */
export function normaliseCapabilities(names: readonly string[]): string[] {
  const full = names.map((name) => {
    const upper = name.trim().toUpperCase();
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  });
  return [...new Set(full)].sort();
}
