/** VXLAN network identifiers: serial from 4096, or as an option of the network demands. */
import { SerialBitmap } from './serial-bitmap.ts';

export const VXLAN_ID_FIRST = 4096;
/** 24 bits (RFC 7348, section 5) */
export const VXLAN_ID_LAST = 2 ** 24 - 1;

export class VxlanIdPool {
  readonly #serial = new SerialBitmap(VXLAN_ID_LAST - VXLAN_ID_FIRST + 1);
  /** ids below the serial range, chosen by users */
  readonly #low = new Set<number>();
  #highest = -1;

  /** False when it is in use. */
  take(id: number): boolean {
    if (id >= VXLAN_ID_FIRST) {
      this.#highest = Math.max(this.#highest, id - VXLAN_ID_FIRST);
      return this.#serial.take(id - VXLAN_ID_FIRST);
    }
    if (this.#low.has(id)) return false;
    this.#low.add(id);
    return true;
  }

  takeNext(): number | null {
    const index = this.#serial.takeNext();
    return index === null ? null : VXLAN_ID_FIRST + index;
  }

  release(id: number): void {
    if (id >= VXLAN_ID_FIRST) this.#serial.release(id - VXLAN_ID_FIRST);
    else this.#low.delete(id);
  }

  /** After a rebuild: go on above the highest id in use. */
  continueAboveUsed(): void {
    this.#serial.continueAbove(this.#highest);
  }
}
