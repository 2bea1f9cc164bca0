/** Log drivers and their options, as a person may write them. Pure; what a node lacks it says itself. */
import { SkepError } from '../base/errors.ts';
import type { LogDriver } from './service.ts';

/** What is there; Docker's others are refused by name. */
export const LOG_DRIVERS = ['json-file', 'local', 'none', 'syslog', 'gelf'] as const;
export type LogDriverName = (typeof LOG_DRIVERS)[number];

export const DEFAULT_LOG_DRIVER: LogDriver = { name: 'json-file', options: {} };

/** Its own, or the node's where it names none; with the node's options where the same driver says nothing else. */
export function logDriverInForce(own: LogDriver | null | undefined, ofNode: LogDriver): LogDriver {
  if (!own) return ofNode;
  const name = own.name || ofNode.name;
  return name === ofNode.name ? { name, options: { ...ofNode.options, ...own.options } } : own;
}

type Check = (value: string) => boolean;

const SIZE = /^(-1|\d+(\.\d+)?[bkmgt]?b?)$/i;
const isSize: Check = (value) => SIZE.test(value);
const isCount: Check = (value) => /^[1-9]\d{0,4}$/.test(value);
const isNumber: Check = (value) => /^\d{1,9}$/.test(value);
const isText: Check = () => true;
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value);
const isOff = oneOf('false');
const isSwitch = oneOf('true', 'false');

/** Of every driver. What a task writes never waits for a log, so that both modes are the same. */
const GENERAL: Readonly<Record<string, Check>> = {
  mode: oneOf('blocking', 'non-blocking'),
  'max-buffer-size': isSize,
};
/** What goes with each line. */
const TAGGED: Readonly<Record<string, Check>> = {
  tag: isText,
  labels: isText,
  'labels-regex': isPattern,
  env: isText,
  'env-regex': isPattern,
};
/** The node keeps what it sends elsewhere, so that `logs` can show it. */
const CACHED: Readonly<Record<string, Check>> = {
  'cache-disabled': isSwitch,
  'cache-max-size': isSize,
  'cache-max-file': isCount,
  'cache-compress': isOff,
};
const FILES: Readonly<Record<string, Check>> = {
  'max-size': isSize,
  'max-file': isCount,
  compress: isOff,
};

const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron'],
  ...['authpriv', 'ftp', '', '', '', ''],
  ...['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];

const OPTIONS: Readonly<Record<LogDriverName, Readonly<Record<string, Check>>>> = {
  'json-file': { ...GENERAL, ...TAGGED, ...FILES },
  local: { ...GENERAL, ...FILES },
  none: {},
  syslog: {
    ...GENERAL,
    ...TAGGED,
    ...CACHED,
    'syslog-address': (value) => parseLogAddress('syslog', value) !== null,
    'syslog-facility': (value) => syslogFacility(value) !== null,
    'syslog-format': oneOf('', 'rfc3164', 'rfc5424', 'rfc5424micro'),
    'syslog-tls-ca-cert': isText,
    'syslog-tls-cert': isText,
    'syslog-tls-key': isText,
    'syslog-tls-skip-verify': isSwitch,
  },
  gelf: {
    ...GENERAL,
    ...TAGGED,
    ...CACHED,
    'gelf-address': (value) => parseLogAddress('gelf', value) !== null,
    'gelf-compression-type': oneOf('gzip', 'zlib', 'none'),
    'gelf-compression-level': oneOf('-1', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'),
    'gelf-tcp-max-reconnect': isNumber,
    'gelf-tcp-reconnect-delay': isNumber,
  },
};

export function isLogDriver(name: string): name is LogDriverName {
  return (LOG_DRIVERS as readonly string[]).includes(name);
}

/** Each option with every check that a driver has for it. */
const CHECKS = new Map<string, Check[]>();
for (const [option, check] of LOG_DRIVERS.flatMap((name) => Object.entries(OPTIONS[name]))) {
  CHECKS.set(option, [...(CHECKS.get(option) ?? []), check]);
}
/** Of a driver that only the node knows: what holds for one of them may be. */
const ANY: Readonly<Record<string, Check>> = Object.fromEntries(
  [...CHECKS].map(([option, checks]) => [
    option,
    (value: string) => checks.some((check) => check(value)),
  ]),
);

/**
 * Throws `unimplemented` for another driver, `invalid-argument` naming the option. '' = the node's default: whether it
 * has the options shows there.
 */
export function checkLogDriver({ name, options }: LogDriver): void {
  if (name !== '' && !isLogDriver(name)) {
    const words = `log driver "${name}" is not supported: there are ${LOG_DRIVERS.join(', ')}`;
    throw new SkepError('unimplemented', words);
  }
  const known: Readonly<Record<string, Check>> = name === '' ? ANY : OPTIONS[name];
  for (const [option, value] of Object.entries(options)) {
    const check = Object.hasOwn(known, option) ? known[option] : undefined;
    if (!check) {
      const whose = name === '' ? 'any' : name;
      throw new SkepError(
        'invalid-argument',
        `unknown log opt '${option}' for ${whose} log driver`,
      );
    }
    if (!check(value)) {
      const words = check === isOff ? 'is not supported: files are not compressed' : 'is invalid';
      throw new SkepError('invalid-argument', `log opt ${option}=${value} ${words}`);
    }
  }
  if (name === 'gelf' && options['gelf-address'] === undefined) {
    throw new SkepError('invalid-argument', 'gelf-address is a required parameter');
  }
  if (name !== 'none' && options['max-file'] !== undefined && options['max-size'] === undefined) {
    const words = "max-file cannot be more than 1 without max-size: set log opt 'max-size' too";
    if (options['max-file'] !== '1' && name === 'json-file') {
      throw new SkepError('invalid-argument', words);
    }
  }
}

export type LogAddress =
  | { readonly kind: 'udp' | 'tcp' | 'tls'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix' | 'unixgram'; readonly path: string };

const DEFAULT_PORTS = { syslog: 514, gelf: 12_201 } as const;
const OVER_IP = { udp: 'udp', tcp: 'tcp' } as const;
const SCHEMES: Readonly<
  Record<'syslog' | 'gelf', Readonly<Record<string, 'udp' | 'tcp' | 'tls'>>>
> = { gelf: OVER_IP, syslog: { ...OVER_IP, 'tcp+tls': 'tls' } };

/** null = none. */
export function parseLogAddress(driver: 'syslog' | 'gelf', text: string): LogAddress | null {
  const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/(.+)$/.exec(text) ?? [];
  if (driver === 'syslog' && (scheme === 'unix' || scheme === 'unixgram')) {
    return rest.startsWith('/') ? { kind: scheme, path: rest } : null;
  }
  const schemes = SCHEMES[driver];
  const kind = Object.hasOwn(schemes, scheme) ? schemes[scheme] : undefined;
  if (kind === undefined) return null;
  const [, six, name, port] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+))(?::(\d{1,5}))?$/.exec(rest) ?? [];
  const host = six ?? name;
  const number = port === undefined ? DEFAULT_PORTS[driver] : Number(port);
  return host !== undefined && number > 0 && number < 65_536 ? { kind, host, port: number } : null;
}

/** By name or number; null = there is no such facility. '' = daemon. */
export function syslogFacility(text: string): number | null {
  if (text === '') return FACILITIES.indexOf('daemon');
  const number = /^\d{1,2}$/.test(text) ? Number(text) : FACILITIES.indexOf(text);
  return number >= 0 && number < FACILITIES.length ? number : null;
}

function isPattern(value: string): boolean {
  try {
    new RegExp(value);
    return true;
  } catch {
    return false;
  }
}
