/** What nodes ask of managers for their containers outside of services: places in networks of the cluster. */
import { skep } from '../../proto/gen/skep.js';
import { asId, type NetworkId } from '../model/ids.ts';
import type { ContainerAttachment } from '../model/node.ts';
import { containerAttachmentFromProto, containerAttachmentToProto } from '../wire/node.ts';
import { int64, intFromProto, listFromProto, text } from '../wire/scalars.ts';
import { codec } from './codec.ts';
import { unary } from './method.ts';

/** A network of the cluster in which containers outside of services may have places. */
export interface AttachableNetwork {
  readonly id: NetworkId;
  readonly name: string;
  /** no way out by it */
  readonly internal: boolean;
}

export interface SetAttachmentsRequest {
  /** all of the calling node: those that are not named end. Addresses are those that it uses, '' for none yet */
  readonly attachments: readonly ContainerAttachment[];
  /** grows from call to call of the node: an earlier word that comes late is refused with `conflict` */
  readonly sequence: number;
}

/** By name, id or the beginning of one. `not-found`; `permission-denied` for one that is not attachable. */
export const findAttachable = unary<{ readonly ref: string }, AttachableNetwork>({
  path: '/skep.Attachments/FindAttachable',
  request: codec<{ readonly ref: string }, skep.FindAttachableRequest.$Properties>(
    skep.FindAttachableRequest,
    ({ ref }) => ({ ref: text(ref) }),
    ({ ref }) => ({ ref: ref ?? '' }),
  ),
  response: codec<AttachableNetwork, skep.AttachableNetwork.$Properties>(
    skep.AttachableNetwork,
    ({ id, name, internal }) => ({ id: text(id), name: text(name), internal }),
    ({ id, name, internal }) => ({
      id: asId<NetworkId>(id ?? ''),
      name: name ?? '',
      internal: internal ?? false,
    }),
  ),
  roles: ['worker', 'manager'],
});

/**
 * The attachments of the calling node from now on. Answers, when the allocator has looked at all of them, with the
 * addresses that they have or the problem of each. Repeating it with a later sequence does no harm.
 */
export const setAttachments = unary<SetAttachmentsRequest, readonly ContainerAttachment[]>({
  path: '/skep.Attachments/SetAttachments',
  request: codec<SetAttachmentsRequest, skep.SetAttachmentsRequest.$Properties>(
    skep.SetAttachmentsRequest,
    ({ attachments, sequence }) => ({
      attachments: attachments.map(containerAttachmentToProto),
      sequence: int64(sequence, 'sequence'),
    }),
    ({ attachments, sequence }) => ({
      attachments: listFromProto(attachments, containerAttachmentFromProto),
      sequence: intFromProto(sequence, 'sequence'),
    }),
  ),
  response: codec<readonly ContainerAttachment[], skep.SetAttachmentsResponse.$Properties>(
    skep.SetAttachmentsResponse,
    (attachments) => ({ attachments: attachments.map(containerAttachmentToProto) }),
    ({ attachments }) => listFromProto(attachments, containerAttachmentFromProto),
  ),
  roles: ['worker', 'manager'],
});
