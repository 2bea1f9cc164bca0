/**
 * Ids of execs: 64 hexadecimal characters, as Docker's. The first half is the start of the container's id, so that any
 * manager knows whose exec it is (docs/decisions/0095); the second is by chance.
 */
import type { Random } from '../../common/base/random.ts';

const CONTAINER_CHARS = 32;
const EXEC_ID = /^[0-9a-f]{64}$/;

export function mintExecId(containerId: string, random: Random): string {
  return containerId.slice(0, CONTAINER_CHARS) + Buffer.from(random.bytes(16)).toString('hex');
}

/** Enough of the container's id to find it by; null for what is no id of an exec. */
export function containerStartOfExec(execId: string): string | null {
  return EXEC_ID.test(execId) ? execId.slice(0, CONTAINER_CHARS) : null;
}
