/** Which changes of a node can matter to tasks. */
import { deepEqual } from '../../common/base/equal.ts';
import type { Node } from '../../common/model/node.ts';

/** Attachments and certificates change often and move nothing. */
export function changesPlacement(node: Node, previous: Node): boolean {
  return (
    node.status.state !== previous.status.state ||
    node.status.address !== previous.status.address ||
    node.role !== previous.role ||
    !deepEqual(node.spec, previous.spec) ||
    !deepEqual(node.description, previous.description)
  );
}
