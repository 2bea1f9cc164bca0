/** The Docker Engine API's JSON: ports of services and tasks. */

export interface PortJson {
  readonly Name?: string;
  readonly Protocol?: string;
  readonly TargetPort: number;
  readonly PublishedPort?: number;
  readonly PublishMode?: string;
  /** ours: the address that it answers on; absent or empty = every one of a node */
  readonly HostIp?: string;
}
