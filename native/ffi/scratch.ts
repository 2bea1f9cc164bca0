/**
 * Room for answers whose size is not known before, used again and again: V8 counts what a Buffer holds outside its heap,
 * and a few megabytes of them start a collection of everything.
 */

/** Of each size, kept when nobody uses them. */
const KEPT = 4;
/** Larger ones are rare, and are not kept. */
const KEPT_BYTES_MAX = 256 * 1024;
const idle = new Map<number, Buffer[]>();

/**
 * Has `fill` write into a buffer of `capacity` bytes; what it says it wrote is returned, as a copy. When it is through, also by
 * a failure, the buffer may be another one's.
 */
export async function viaScratch(
  capacity: number,
  fill: (room: Buffer) => Promise<number>,
): Promise<Buffer> {
  const room = idle.get(capacity)?.pop() ?? Buffer.allocUnsafeSlow(capacity);
  try {
    return Buffer.from(room.subarray(0, await fill(room)));
  } finally {
    keep(room);
  }
}

function keep(room: Buffer): void {
  if (room.length > KEPT_BYTES_MAX) return;
  const others = idle.get(room.length);
  if (others === undefined) idle.set(room.length, [room]);
  else if (others.length < KEPT) others.push(room);
}
