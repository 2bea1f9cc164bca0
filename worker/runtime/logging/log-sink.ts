/** Where the lines of one container go, besides the log that this node keeps. */

import { promisify } from 'node:util';
import { deflate, gzip } from 'node:zlib';
import type { Random } from '../../../common/base/random.ts';
import type { LogRecord } from '../log-reader.ts';
import { gelfChunks, gelfMessage, type LogSource, syslogMessage } from './log-lines.ts';
import { type LogSettings, requireLogAddress } from './log-settings.ts';
import { type LogTransport, NO_TLS_FILES, openTransport } from './log-transport.ts';

export interface LogSink {
  /** Resolves when it is on its way. Rejects when it is to be sent again, by another sink. */
  send(record: LogRecord): Promise<void>;
  close(): void;
}

const GELF_ID_BYTES = 8;
const gzipped = promisify(gzip) as (bytes: Buffer, options: { level: number }) => Promise<Buffer>;
const deflated = promisify(deflate) as typeof gzipped;

/** Rejects when the other end is not there. @param signal ends a stream, and what waits to be taken by it */
export async function openSink(
  settings: LogSettings,
  source: LogSource,
  random: Random,
  signal: AbortSignal,
): Promise<LogSink> {
  return settings.driver === 'syslog'
    ? openSyslog(settings, source, signal)
    : openGelf(settings, source, random, signal);
}

async function openSyslog(
  settings: LogSettings,
  source: LogSource,
  signal: AbortSignal,
): Promise<LogSink> {
  const { options } = settings;
  const address = requireLogAddress(settings, 'syslog');
  const files = {
    ca: options['syslog-tls-ca-cert'] ?? '',
    cert: options['syslog-tls-cert'] ?? '',
    key: options['syslog-tls-key'] ?? '',
    skipVerify: options['syslog-tls-skip-verify'] === 'true',
  };
  const transport = await openTransport(address, files, signal);
  const isLocal = address.kind === 'unix' || address.kind === 'unixgram';
  const isCounted =
    address.kind === 'tls' && (options['syslog-format'] ?? '').startsWith('rfc5424');
  const isDatagram = address.kind === 'udp' || address.kind === 'unixgram';
  return {
    send: (record) => {
      const message = syslogMessage(record, settings, source, isLocal);
      // RFC 5425 counts; else the end of a line ends a message, and a datagram by itself.
      const framed = isCounted
        ? `${Buffer.byteLength(message)} ${message}`
        : isDatagram
          ? message
          : `${message}\n`;
      return transport.send(Buffer.from(framed));
    },
    close: () => transport.close(),
  };
}

async function openGelf(
  settings: LogSettings,
  source: LogSource,
  random: Random,
  signal: AbortSignal,
): Promise<LogSink> {
  const { options } = settings;
  const address = requireLogAddress(settings, 'gelf');
  const transport: LogTransport = await openTransport(address, NO_TLS_FILES, signal);
  const isDatagram = address.kind === 'udp';
  const level = Number(options['gelf-compression-level'] ?? 1);
  const kind = isDatagram ? (options['gelf-compression-type'] ?? 'gzip') : 'none';
  const packed = async (text: string): Promise<Buffer> => {
    const bytes = Buffer.from(text);
    if (kind === 'none') return bytes;
    return kind === 'zlib' ? deflated(bytes, { level }) : gzipped(bytes, { level });
  };
  return {
    send: async (record) => {
      const text = gelfMessage(record, settings, source);
      if (!isDatagram) return transport.send(Buffer.from(`${text}\0`));
      const id = Buffer.from(random.bytes(GELF_ID_BYTES));
      for (const chunk of gelfChunks(await packed(text), id)) await transport.send(chunk);
    },
    close: () => transport.close(),
  };
}
