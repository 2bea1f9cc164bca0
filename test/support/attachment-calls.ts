/** What nodes ask of the manager that leads about their containers in networks of the cluster. */
import type { NodeId } from '../../common/model/ids.ts';
import type { CallContext } from '../../common/rpc/call-runner.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import type { UnaryMethod } from '../../common/rpc/method.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { Attachments } from '../../manager/controlapi/attachments.ts';
import type { TestStore } from './store.ts';

type Handler = (request: unknown, context: CallContext) => Promise<unknown>;

/** @param by the node that asks; null = it shows no certificate */
export type AttachmentCall = <Req, Res>(
  method: UnaryMethod<Req, Res>,
  request: Req,
  by: NodeId | null,
) => Promise<Res>;

export function attachmentCalls({ store, clock }: TestStore): AttachmentCall {
  const handlers = new Map<string, Handler>();
  const leader = new LeaderCaller({
    clock,
    self: () => anonymousPeer(''),
    locator: { isLeader: () => true, leaderAddress: () => null, onChange: () => () => {} },
    pool: {
      client: () => {
        throw new Error('the leader calls nobody');
      },
    },
  });
  new Attachments({ store, leader, clock }).register({
    handleUnary: (method: { path: string }, handler: unknown) => {
      handlers.set(method.path, handler as Handler);
      return () => {};
    },
  } as never);
  return <Req, Res>({ path }: UnaryMethod<Req, Res>, request: Req, by: NodeId | null) => {
    const peer = { ...anonymousPeer('192.0.2.1'), nodeId: by };
    const context = { peer, forwarded: false, signal: new AbortController().signal };
    return handlers.get(path)!(request, context as never) as Promise<Res>;
  };
}
