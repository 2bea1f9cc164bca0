/** What an operator decided for every container of a node, and who this node is to readers of logs. */
import { DEFAULT_LOG_DRIVER } from '../../common/model/log-driver.ts';
import type { LogDriver } from '../../common/model/service.ts';
import { type Forbidden, NOTHING_FORBIDDEN } from './forbidden.ts';
import { NATIVE_ONLY, type NodeRuntimes } from './oci-runtimes.ts';
import { NO_USER_NAMESPACES, type UserNamespaces } from './user-namespace.ts';

export interface NodeSettings {
  readonly userNamespaces: UserNamespaces;
  readonly runtimes: NodeRuntimes;
  readonly forbidden: ReadonlySet<Forbidden>;
  /** of every container that names none */
  readonly logDriver: LogDriver;
  readonly logSource: () => {
    readonly hostname: string;
    /** of the daemon */
    readonly pid: number;
    readonly nowMs: number;
  };
}

export const DEFAULT_NODE_SETTINGS: NodeSettings = {
  userNamespaces: NO_USER_NAMESPACES,
  runtimes: NATIVE_ONLY,
  forbidden: NOTHING_FORBIDDEN,
  logDriver: DEFAULT_LOG_DRIVER,
  logSource: () => ({ hostname: '', pid: 0, nowMs: 0 }),
};
