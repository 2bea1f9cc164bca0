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
  LABEL: (config, words) => ({
    ...config,
    Labels: { ...(config['Labels'] as object | undefined), ...Object.fromEntries(pairsOf(words)) },
  }),
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

function malformed(text: string): SkepError {
  return new SkepError('invalid-argument', `change image: ${text}: expected NAME=VALUE`);
}

function withVariables(before: unknown, pairs: readonly [string, string][]): string[] {
  const kept = (Array.isArray(before) ? (before as string[]) : []).filter(
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
