/** Entries of assignment sets that agents do not get, as by a fault of who made or carried them. */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { DispatcherMessage } from '../../../common/model/session.ts';
import type { Host } from './host.ts';

/** What arrives of a message. One change of it is lost, when the machine is to lose one. */
export function withLapse(
  host: Host,
  message: DispatcherMessage,
  random: SeededRandom,
): DispatcherMessage {
  if (!host.losesEntry || message.kind !== 'assignments' || message.changes.length === 0) {
    return message;
  }
  host.losesEntry = false;
  host.lacksEntry = true;
  const lost = random.below(message.changes.length);
  return { ...message, changes: message.changes.filter((_, at) => at !== lost) };
}
