/**
 * What people set once for all commands in `config.json`: docker's file holds for skep too, and one of ours goes over it.
 * Credentials are read elsewhere (docker-config.ts), and the context in force (contexts.ts).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';

/** As docker calls them. */
export type SettingKey =
  | 'psFormat'
  | 'imagesFormat'
  | 'networksFormat'
  | 'volumesFormat'
  | 'statsFormat'
  | 'servicesFormat'
  | 'serviceInspectFormat'
  | 'tasksFormat'
  | 'nodesFormat'
  | 'secretFormat'
  | 'configFormat'
  | 'detachKeys';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * `$SKEP_CONFIG/config.json` (else `$HOME/.skep/config.json`), then `$DOCKER_CONFIG/config.json` (else
 * `$HOME/.docker/config.json`); undefined = in neither, or nobody's home. Throws `invalid-argument` for a file that is not JSON.
 */
export function userSetting(env: Environment, key: SettingKey): string | undefined {
  const inHome = (name: string): string => (env['HOME'] ? join(env['HOME'], name) : '');
  const folders = [
    env['SKEP_CONFIG'] || inHome('.skep'),
    env['DOCKER_CONFIG'] || inHome('.docker'),
  ];
  for (const folder of folders) {
    if (folder === '') continue;
    const value = readObject(join(folder, 'config.json'))[key];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

function readObject(path: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {}; // not there, or not for us
  }
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    throw new SkepError('invalid-argument', `read ${path}: not JSON`);
  }
}
