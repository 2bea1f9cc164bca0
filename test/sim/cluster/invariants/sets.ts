/** What agents are told is what they are to have: nobody asks for a whole set unless something was lost on its way. */
import type { AgentMessage } from '../../../../common/model/session.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';

export class SetsAreWhole implements ClusterChecker {
  readonly number = 14;
  readonly name = 'sets and steps have all that changed';

  heard(host: Host, { kind }: AgentMessage): void {
    if (kind === 'hello') host.lacksEntry = false;
    if (kind !== 'resync') return;
    expect(host.lacksEntry, () => `machine ${host.id} lacks something that nobody lost`);
    host.lacksEntry = false;
  }
}
