/** The directives of etcd/raft's membership scripts: `simple`, `enter-joint`, `leave-joint`. */
import {
  changeSimply,
  enterJoint,
  leaveJoint,
  MembershipChangeError,
  type MembershipResult,
} from '../../manager/raft/membership-change.ts';
import { sortedIds } from '../../manager/raft/quorum.ts';
import { confStateOf, NO_MEMBERS } from '../../manager/raft/tracker.ts';
import { type Directive, valuesOf } from './datadriven.ts';
import { formatMembership, formatProgress, parseChanges } from './raft-format.ts';

const LIMITS = { maxInflightMessages: 10, maxInflightBytes: Number.POSITIVE_INFINITY };

/** A membership that starts empty and is changed by one directive after the other. */
export class MembershipScript {
  #current: MembershipResult = { membership: NO_MEMBERS, progress: new Map() };
  #lastIndex = 0;

  handle(directive: Directive): string {
    try {
      this.#current = this.#change(directive);
    } catch (err) {
      if (err instanceof MembershipChangeError) return err.message;
      throw err;
    } finally {
      this.#lastIndex++;
    }
    const { membership, progress } = this.#current;
    const lines = sortedIds(progress.keys()).map(
      (id) => `${id}: ${formatProgress(progress.get(id)!.status())}`,
    );
    return [formatMembership(confStateOf(membership)), ...lines].join('\n');
  }

  #change(directive: Directive): MembershipResult {
    const base = { ...this.#current, lastIndex: this.#lastIndex, limits: LIMITS };
    const changes = parseChanges(directive.input);
    switch (directive.command) {
      case 'simple':
        return changeSimply(base, changes);
      case 'enter-joint':
        return enterJoint(base, valuesOf(directive, 'autoleave')?.[0] === 'true', changes);
      case 'leave-joint':
        if (changes.length > 0) throw new MembershipChangeError('this command takes no input');
        return leaveJoint(base);
      default:
        throw new Error(`unknown command ${directive.command}`);
    }
  }
}
