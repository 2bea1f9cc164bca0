/** Waiting for real file operations in tests whose clock is a fake. */
import { settle } from './fake-clock.ts';

const TURNS_MAX = 5_000;

/** Resolves when `condition` holds; gives up after some thousand turns of the event loop. */
export async function eventually(condition: () => boolean, what = 'condition'): Promise<void> {
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    if (condition()) return;
    await settle();
  }
  throw new Error(`${what} did not come to hold in ${TURNS_MAX} turns of the event loop`);
}
