/** Logging. One root logger per process, one child per component; the only importer of pino. */
import pino, { type Logger as PinoLogger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
export const LOG_LEVELS: readonly LogLevel[] = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
];

/**
 * Messages are constant phrases; values go into fields named as in the code (`nodeId`, `taskId`,
 * `raftTerm`, `elapsedMs`, `err`). Secrets, tokens and keys are never fields.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(bindings: { readonly component?: string; readonly [field: string]: unknown }): Logger;
}

/** JSON lines on standard error. */
export function createLogger(level: LogLevel): Logger {
  const root: PinoLogger = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  return root as Logger;
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
