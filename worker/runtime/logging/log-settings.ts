/** What a container's log driver means on this node: what is kept here, what is sent, what goes with each line. Pure. */
import { SkepError } from '../../../common/base/errors.ts';
import { parseTemplate } from '../../../common/base/template.ts';
import {
  checkLogDriver,
  isLogDriver,
  type LogDriverName,
  parseLogAddress,
} from '../../../common/model/log-driver.ts';
import type { StringMap } from '../../../common/model/objects.ts';
import type { LogDriver } from '../../../common/model/service.ts';

/** As it lies on disk with the container. */
export interface LogSettings {
  readonly driver: LogDriverName;
  readonly options: StringMap;
  /** what its lines are marked with, templates expanded */
  readonly tag: string;
  /** labels and variables that the options name */
  readonly attributes: StringMap;
  /** what `logs` may show */
  readonly isReadable: boolean;
  /** of a file of the log that is kept here; 0 = without end */
  readonly maxBytes: number;
  /** files that are kept; 0 = none, what is written goes nowhere */
  readonly maxFiles: number;
}

/** What tags may name, and where attributes come from. */
export interface LogSubject {
  /** 64 hexadecimal characters */
  readonly containerId: string;
  readonly name: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly command: string;
  readonly labels: StringMap;
  /** NAME=value */
  readonly env: readonly string[];
  readonly hostname: string;
}

const SHORT_CHARS = 12;
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024;
const DEFAULT_MAX_FILES = 3;
/** As Docker's, of what is sent elsewhere. */
const CACHE_MAX_BYTES = 20 * 1024 * 1024;
const CACHE_MAX_FILES = 5;
const UNITS: Readonly<Record<string, number>> = {
  ...{ '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 },
};

/** Throws `invalid-argument`, `unimplemented`. */
export function logSettingsOf(driver: LogDriver, subject: LogSubject): LogSettings {
  checkLogDriver(driver);
  const { name, options } = driver;
  if (!isLogDriver(name)) throw new SkepError('invalid-argument', 'log driver: none is named');
  const common = { driver: name, options, tag: '', attributes: {} };
  if (name === 'none') return { ...common, isReadable: false, maxBytes: 0, maxFiles: 0 };
  const attributes = attributesOf(options, subject);
  if (name === 'json-file' || name === 'local') {
    const maxBytes = sizeOf(options['max-size'], DEFAULT_MAX_BYTES);
    const maxFiles = Number(options['max-file'] ?? DEFAULT_MAX_FILES);
    const tag = options['tag'] === undefined ? '' : tagOf(options['tag'], subject);
    const marked: StringMap = tag === '' ? attributes : { ...attributes, tag };
    return { ...common, tag, attributes: marked, isReadable: true, maxBytes, maxFiles };
  }
  return {
    ...common,
    tag: tagOf(options['tag'] ?? '{{.ID}}', subject),
    attributes,
    isReadable: options['cache-disabled'] !== 'true',
    maxBytes: sizeOf(options['cache-max-size'], CACHE_MAX_BYTES),
    maxFiles: Number(options['cache-max-file'] ?? CACHE_MAX_FILES),
  };
}

/** Whether its lines are to be sent somewhere. */
export function isSent({ driver }: LogSettings): boolean {
  return driver === 'syslog' || driver === 'gelf';
}

export function requireLogAddress(settings: LogSettings, driver: 'syslog' | 'gelf') {
  const text = settings.options[`${driver}-address`] ?? 'unixgram:///dev/log';
  const address = parseLogAddress(driver, text);
  if (address) return address;
  throw new SkepError('invalid-argument', `log opt ${driver}-address=${text} is invalid`);
}

function sizeOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (text === '-1') return 0;
  const [, number = '', unit = ''] = /^([\d.]+)([a-z]?)/i.exec(text) ?? [];
  return Math.floor(Number(number) * (UNITS[unit.toLowerCase()] ?? 1));
}

function tagOf(template: string, subject: LogSubject): string {
  try {
    return parseTemplate(template, { functions: {}, missing: 'all' }).render({
      ID: subject.containerId.slice(0, SHORT_CHARS),
      FullID: subject.containerId,
      Name: subject.name,
      ImageID: subject.imageId.replace(/^sha256:/, '').slice(0, SHORT_CHARS),
      ImageFullID: subject.imageId,
      ImageName: subject.imageName,
      Command: subject.command,
      Hostname: subject.hostname,
      DaemonName: 'skep',
    });
  } catch (cause) {
    throw new SkepError('invalid-argument', `log opt tag=${template}`, { cause });
  }
}

function attributesOf(options: StringMap, { labels, env }: LogSubject): StringMap {
  const variables = Object.fromEntries(
    env.map((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
  return {
    ...chosen(labels, options['labels'], options['labels-regex']),
    ...chosen(variables, options['env'], options['env-regex']),
  };
}

function chosen(from: StringMap, names = '', pattern = ''): StringMap {
  const wanted = new Set(names.split(','));
  const regex = pattern === '' ? null : new RegExp(pattern);
  return Object.fromEntries(
    Object.entries(from).filter(([name]) => wanted.has(name) || regex?.test(name)),
  );
}
