/** Messages stay within their limits. */
import type { AgentMessage, DispatcherMessage } from '../../../../common/model/session.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';

const STATUSES_MAX = 200;
const CHANGES_MAX = 100;

export class BoundedMessages implements ClusterChecker {
  readonly number = 10;
  readonly name = 'messages and queues are bounded';

  heard(_host: Host, message: AgentMessage): void {
    if (message.kind !== 'statuses') return;
    expect(
      message.updates.length <= STATUSES_MAX,
      () => `${message.updates.length} statuses in one message`,
    );
  }

  told(_host: Host, message: DispatcherMessage): void {
    if (message.kind !== 'assignments') return;
    expect(
      message.changes.length <= CHANGES_MAX,
      () => `${message.changes.length} changes in one message`,
    );
  }
}
