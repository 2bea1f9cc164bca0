/** The way that a connection to a service takes from one place of a node. */

/** One step of the way, as the tables say it is. */
export interface NetworkHop {
  /** `name`, `from`, `port`, `balancing`, `backend`, `neighbour`, `forwarding`, `underlay` */
  readonly step: string;
  /** in words */
  readonly detail: string;
  /** what the kernel has otherwise, or why the way ends here; none = it is so */
  readonly faults: readonly string[];
}

export interface NetworkTraceRequest {
  /** its name */
  readonly service: string;
  /** '' = from the node itself, to what the service publishes */
  readonly taskId: string;
}
