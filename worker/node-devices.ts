/** The device files of this machine, as its description tells of them. */
import { type Dirent, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { compareText } from '../common/base/order.ts';
import { isToldDevice } from '../common/model/node-devices.ts';

/** They come and go with what is plugged in; a description is made more often than that. */
const KEPT_MS = 10_000;
/** A machine with more says nothing of its devices, and is trusted to have what is asked for. */
const DEVICES_MAX = 500;
const DEPTH_MAX = 4;

export class NodeDevices {
  readonly #clock: Clock;
  readonly #folder: string;
  #names: readonly string[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;

  /** @param folder of the machine's devices */
  constructor(clock: Clock, folder = '/dev') {
    this.#clock = clock;
    this.#folder = folder;
  }

  /** Names below the folder, sorted; at most 10 s old. */
  get names(): readonly string[] {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#readAtMs >= KEPT_MS) {
      const found = [...devicesIn(this.#folder, '', 0)].sort(compareText);
      this.#names = found.length > DEVICES_MAX ? [] : found;
      this.#readAtMs = nowMs;
    }
    return this.#names;
  }
}

function* devicesIn(root: string, below: string, depth: number): Iterable<string> {
  for (const entry of entriesOf(join(root, below))) {
    const name = below === '' ? entry.name : `${below}/${entry.name}`;
    if (!isToldDevice(name)) continue;
    if (entry.isDirectory()) {
      if (depth < DEPTH_MAX) yield* devicesIn(root, name, depth + 1);
    } else if (entry.isCharacterDevice() || entry.isBlockDevice() || entry.isSymbolicLink()) {
      yield name;
    }
  }
}

/** A folder may go while it is read. */
function entriesOf(path: string): readonly Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}
