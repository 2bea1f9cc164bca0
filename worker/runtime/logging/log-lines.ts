/** A container's lines in the words of syslog and GELF. Pure bytes. */
import { syslogFacility } from '../../../common/model/log-driver.ts';
import type { LogRecord } from '../log-reader.ts';
import type { LogSettings } from './log-settings.ts';

/** Who writes. */
export interface LogSource {
  readonly containerId: string;
  readonly containerName: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly command: string;
  readonly createdAtMs: number;
  /** of this node */
  readonly hostname: string;
  /** of the daemon */
  readonly pid: number;
}

const NANOS_PER_MS = 1_000_000n;
const SEVERITY = { stdout: 6, stderr: 3 } as const;
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

function textOf({ data }: LogRecord): string {
  return Buffer.from(data)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

/**
 * One message without a frame. Without a format it is the one of the way it goes: local sockets name no host.
 * @param isLocal over a unix socket
 */
export function syslogMessage(
  record: LogRecord,
  { options, tag }: LogSettings,
  { hostname, pid }: LogSource,
  isLocal: boolean,
): string {
  const facility = syslogFacility(options['syslog-facility'] ?? '') ?? 0;
  const priority = facility * 8 + SEVERITY[record.stream];
  const text = textOf(record);
  const date = new Date(Number(record.timeNanos / NANOS_PER_MS));
  switch (options['syslog-format'] ?? '') {
    case 'rfc5424':
      return `<${priority}>1 ${seconds(date)} ${hostname} ${tag} ${pid} ${tag} - ${text}`;
    case 'rfc5424micro':
      return `<${priority}>1 ${micros(record.timeNanos)} ${hostname} ${tag} ${pid} ${tag} - ${text}`;
    case 'rfc3164':
      return `<${priority}>${stamp(date)} ${hostname} ${tag}[${pid}]: ${text}`;
    default:
      return isLocal
        ? `<${priority}>${stamp(date)} ${tag}[${pid}]: ${text}`
        : `<${priority}>${seconds(date)} ${hostname} ${tag}[${pid}]: ${text}`;
  }
}

/** One GELF 1.1 document. */
export function gelfMessage(
  record: LogRecord,
  { tag, attributes }: LogSettings,
  source: LogSource,
): string {
  const extra = Object.entries(attributes).map(([name, value]) => [`_${name}`, value]);
  return JSON.stringify({
    version: '1.1',
    host: source.hostname,
    short_message: textOf(record),
    timestamp: Number(record.timeNanos / NANOS_PER_MS) / 1000,
    level: SEVERITY[record.stream],
    _command: source.command,
    _container_id: source.containerId,
    _container_name: source.containerName,
    _created: new Date(source.createdAtMs).toISOString(),
    _image_id: source.imageId,
    _image_name: source.imageName,
    _tag: tag,
    ...Object.fromEntries(extra),
  });
}

/** RFC 3339 in whole seconds. */
const seconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;

function micros(timeNanos: bigint): string {
  const date = new Date(Number(timeNanos / NANOS_PER_MS));
  const rest = String((timeNanos / 1000n) % 1_000_000n).padStart(6, '0');
  return `${date.toISOString().slice(0, 19)}.${rest}Z`;
}

/** As RFC 3164 has it: `Nov  9 05:06:07`. */
function stamp(date: Date): string {
  const day = String(date.getUTCDate()).padStart(2, ' ');
  return `${MONTHS[date.getUTCMonth()]} ${day} ${date.toISOString().slice(11, 19)}`;
}

const CHUNK_BYTES = 1420;
const CHUNK_HEADER_BYTES = 12;
const CHUNKS_MAX = 128;
const CHUNK_MAGIC = [0x1e, 0x0f] as const;

/** As datagrams: whole when it fits, else in chunks under one id; [] = it is too large for GELF. */
export function gelfChunks(message: Buffer, id: Buffer): Buffer[] {
  if (message.length <= CHUNK_BYTES) return [message];
  const size = CHUNK_BYTES - CHUNK_HEADER_BYTES;
  const count = Math.ceil(message.length / size);
  if (count > CHUNKS_MAX) return [];
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([
      Buffer.from(CHUNK_MAGIC),
      id,
      Buffer.from([index, count]),
      message.subarray(index * size, (index + 1) * size),
    ]),
  );
}
