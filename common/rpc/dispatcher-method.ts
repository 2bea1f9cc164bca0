/** The one method of the dispatcher: a node's session with the leader. */
import type { AgentMessage, DispatcherMessage } from '../model/session.ts';
import {
  decodeAgentMessage,
  decodeDispatcherMessage,
  encodeAgentMessage,
  encodeDispatcherMessage,
} from '../wire/session.ts';
import { duplex } from './method.ts';

export const dispatcherSession = duplex<AgentMessage, DispatcherMessage>({
  path: '/skep.Dispatcher/Session',
  request: { encode: encodeAgentMessage, decode: decodeAgentMessage },
  response: { encode: encodeDispatcherMessage, decode: decodeDispatcherMessage },
  roles: ['worker', 'manager'],
});
