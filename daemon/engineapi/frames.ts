/** Docker's multiplexed stream: 8 bytes of header (stream, length) before each piece of output. */

export const MULTIPLEXED_TYPE = 'application/vnd.docker.multiplexed-stream';
export const RAW_TYPE = 'application/vnd.docker.raw-stream';
/** API 1.42 tells the two apart; before, everything is called raw. */
const MULTIPLEXED_SINCE_MINOR = 42;

const STREAM_NUMBER = { stdout: 1, stderr: 2 } as const;

export function streamType(tty: boolean, apiMinor: number): string {
  return !tty && apiMinor >= MULTIPLEXED_SINCE_MINOR ? MULTIPLEXED_TYPE : RAW_TYPE;
}

/** What stands before a piece of so many bytes. */
export function frameHead(stream: 'stdout' | 'stderr', length: number): Buffer {
  const out = Buffer.alloc(8);
  out[0] = STREAM_NUMBER[stream];
  out.writeUInt32BE(length, 4);
  return out;
}

export function frame(stream: 'stdout' | 'stderr', data: Uint8Array): Buffer {
  const out = Buffer.alloc(8 + data.length);
  out[0] = STREAM_NUMBER[stream];
  out.writeUInt32BE(data.length, 4);
  out.set(data, 8);
  return out;
}
