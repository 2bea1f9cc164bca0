/** Writing of whole numbers without the objects that the library makes of each: most are times, and a task has six. */
import protobuf, { type Writer } from 'protobufjs/minimal.js';

/** Four bytes of a varint that goes on behind them. */
const FOUR_BYTES = 2 ** 28;
const GOES_ON = 0x80_80_80_80;

type Whole = Parameters<Writer['int64']>[0];

/** Writes the same bytes as the library's own. */
export class WireWriter extends protobuf.BufferWriter {
  override int64(value: Whole): Writer {
    if (!isPlain(value)) return super.int64(value);
    return this.#varint(value);
  }

  override uint64(value: Whole): Writer {
    if (!isPlain(value)) return super.uint64(value);
    return this.#varint(value);
  }

  #varint(value: number): Writer {
    if (value < FOUR_BYTES) return this.uint32(value);
    const low = value % FOUR_BYTES;
    // Seven bits in each byte, the lowest first.
    const spread =
      (low & 0x7f) |
      ((low & 0x3f_80) << 1) |
      ((low & 0x1f_c0_00) << 2) |
      ((low & 0x0f_e0_00_00) << 3);
    return this.fixed32(spread | GOES_ON).uint32(Math.floor(value / FOUR_BYTES));
  }
}

function isPlain(value: Whole): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
