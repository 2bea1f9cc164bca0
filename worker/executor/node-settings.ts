/** What an operator decided for every container of a node. Values only. */
import { NO_USER_NAMESPACES, type UserNamespaces } from './user-namespace.ts';

export interface NodeSettings {
  readonly userNamespaces: UserNamespaces;
}

export const DEFAULT_NODE_SETTINGS: NodeSettings = {
  userNamespaces: NO_USER_NAMESPACES,
};
