/**
 * Changes to an image's config in the words of a Dockerfile (`--change` of `import`, `-c` of `commit`). Pure:
 * a config's JSON and instructions -> the JSON after them.
 */
import { SkepError } from '../../common/base/errors.ts';

/** The config as in the image document: `Cmd`, `Env`, ... */
export type ConfigJson = Readonly<Record<string, unknown>>;

type Change = (config: ConfigJson, words: string) => ConfigJson;

const INSTRUCTIONS: Readonly<Record<string, Change>> = {
  CMD: (config, words) => ({ ...config, Cmd: execForm(words) }),
  ENTRYPOINT: (config, words) => ({ ...config, Entrypoint: execForm(words) }),
  ENV: (config, words) => ({ ...config, Env: withVariables(config['Env'], pairsOf(words)) }),
  EXPOSE: (config, words) => withKeys(config, 'ExposedPorts', splitWords(words).map(portOf)),
  HEALTHCHECK: (config, words) => ({ ...config, Healthcheck: healthcheckOf(words) }),
  LABEL: (config, words) => ({
    ...config,
    Labels: { ...(config['Labels'] as object | undefined), ...Object.fromEntries(pairsOf(words)) },
  }),
  ONBUILD: (config, words) => ({ ...config, OnBuild: [...textsIn(config['OnBuild']), words] }),
  STOPSIGNAL: (config, words) => ({ ...config, StopSignal: words }),
  USER: (config, words) => ({ ...config, User: words }),
  VOLUME: (config, words) => withKeys(config, 'Volumes', jsonTexts(words) ?? splitWords(words)),
  WORKDIR: (config, words) => ({ ...config, WorkingDir: words }),
};

/** Throws `invalid-argument` for what is no instruction, `unimplemented` for one that is not done. */
export function changedConfig(config: ConfigJson, changes: readonly string[]): ConfigJson {
  return changes.reduce((before, line) => {
    const [, name = '', words = ''] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(line) ?? [];
    const change = INSTRUCTIONS[name.toUpperCase()];
    if (!change) {
      const known = Object.keys(INSTRUCTIONS).join(', ');
      throw new SkepError('unimplemented', `change image: ${name} is none of ${known}`);
    }
    if (words === '') {
      throw new SkepError('invalid-argument', `change image: ${name} requires an argument`);
    }
    return change(before, words);
  }, config);
}

/** A JSON list as it is, any other text through the shell. */
function execForm(words: string): readonly string[] {
  return jsonTexts(words) ?? ['/bin/sh', '-c', words];
}

function jsonTexts(words: string): readonly string[] | null {
  if (!words.startsWith('[')) return null;
  try {
    const list: unknown = JSON.parse(words);
    const isTexts = Array.isArray(list) && list.every((item) => typeof item === 'string');
    return isTexts ? (list as string[]) : null;
  } catch {
    return null; // the shell's test command begins with a bracket, too
  }
}

/** By spaces; quotes keep them. */
function splitWords(text: string): string[] {
  const words = text.match(/(?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*')+/g) ?? [];
  return words.map((word) =>
    word.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_, double, single) =>
      double === undefined ? (single as string) : (double as string).replace(/\\(.)/g, '$1'),
    ),
  );
}

/** `A=1 B="2 3"`; the old form `A the rest` has one. */
function pairsOf(text: string): [string, string][] {
  const words = splitWords(text);
  if (!words[0]?.includes('=')) {
    const [, name = '', value] = /^(\S+)\s+([\s\S]+)$/.exec(text) ?? [];
    if (value === undefined) throw malformed(text);
    return [[name, value]];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at <= 0) throw malformed(word);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

const HEALTHCHECK_FLAGS: Readonly<Record<string, string>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
};
const NANOS: Readonly<Record<string, number>> = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `NONE`, or `CMD ...` after flags; times in ns, as in image documents. */
function healthcheckOf(text: string): ConfigJson {
  const [, flags = '', form, words = ''] =
    /^((?:--\S+\s+)*)(NONE|CMD)(?:\s+([\s\S]+))?$/i.exec(text) ?? [];
  if (form?.toUpperCase() === 'NONE' && words === '' && flags === '') return { Test: ['NONE'] };
  if (form?.toUpperCase() !== 'CMD' || words === '') {
    throw new SkepError(
      'invalid-argument',
      `change image: HEALTHCHECK ${text}: neither NONE nor CMD`,
    );
  }
  const list = jsonTexts(words);
  const settings = splitWords(flags).map((flag) => healthcheckSetting(flag));
  return {
    Test: list === null ? ['CMD-SHELL', words] : ['CMD', ...list],
    ...Object.fromEntries(settings),
  };
}

function healthcheckSetting(flag: string): [string, number] {
  const [, name = '', value = ''] = /^--([a-z-]+)=(\S+)$/.exec(flag) ?? [];
  if (name === 'retries' && /^\d{1,6}$/.test(value)) return ['Retries', Number(value)];
  const field = HEALTHCHECK_FLAGS[name];
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (field === undefined || value === '' || parts.map(([part]) => part).join('') !== value) {
    throw new SkepError('invalid-argument', `change image: HEALTHCHECK ${flag}: no such setting`);
  }
  return [field, parts.reduce((sum, [, count, unit]) => sum + Number(count) * NANOS[unit!]!, 0)];
}

function malformed(text: string): SkepError {
  return new SkepError('invalid-argument', `change image: ${text}: expected NAME=VALUE`);
}

function textsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? (value as string[]) : [];
}

function withVariables(before: unknown, pairs: readonly [string, string][]): string[] {
  const kept = textsIn(before).filter(
    (line) => !pairs.some(([name]) => line.startsWith(`${name}=`)),
  );
  return [...kept, ...pairs.map(([name, value]) => `${name}=${value}`)];
}

function withKeys(config: ConfigJson, field: string, names: readonly string[]): ConfigJson {
  const more = Object.fromEntries(names.map((name) => [name, {}]));
  return { ...config, [field]: { ...(config[field] as object | undefined), ...more } };
}

function portOf(word: string): string {
  const port = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(word);
  if (!port || Number(port[1]) > 65535) {
    throw new SkepError('invalid-argument', `change image: ${word} is no port`);
  }
  return `${port[1]}/${port[2] ?? 'tcp'}`;
}
