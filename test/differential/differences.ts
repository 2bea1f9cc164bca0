/** Where skep is known to answer otherwise than Docker 20.10, and where docs/differences.md says so. */

export interface KnownDifference {
  /** of `scenario/operation/path` */
  readonly at: RegExp;
  /** words of docs/differences.md */
  readonly why: string;
}

const FIELDS = 'Fields that say nothing more than their default';
const WORDS = 'Errors come in the words of newer engines, or say more';
const REFUSALS = 'Where a request can never succeed, the status is 400';

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  { at: /\/(Previous|)Spec\/EndpointSpec\/Mode$|\/Endpoint\/Spec\/Mode$/, why: FIELDS },
  { at: /\/PreviousSpec\/TaskTemplate\/RestartPolicy\/Delay$/, why: FIELDS },
  { at: /\/Spec\/Runtime$/, why: FIELDS },
  { at: /\/JobStatus\/JobIteration\/Index$/, why: FIELDS },
  {
    at: /(job\/service g?job( \(2\))?\/Spec|^stack files\/.*\/shop_g?job)\/(Update|Rollback)Config\//,
    why: 'The defaults that `service inspect` shows have no update of a job',
  },
  {
    at: /\/tasks of \w+\/\d+\/Message$/,
    why: 'A task that failed or was rejected says so in its message',
  },
  {
    at: /^a command that is not there\/tasks of nocmd\/0\/Err$/,
    why: "A command that cannot be run is told in the sense of Docker's words",
  },
  { at: /^services that are refused\/a constraint [^/]+\/status$/, why: REFUSALS },
  { at: /^services that are refused\/a network that is not there\/status$/, why: REFUSALS },
  { at: /^the node\/a role that is none, as a filter\/status$/, why: REFUSALS },
  { at: /^services that are refused\/too little CPU\/message$/, why: WORDS },
  { at: /^changes that are refused\/no version\/message$/, why: WORDS },
  { at: /^networks\/a gateway outside\/message$/, why: WORDS },
  { at: /^networks\/a name that every node has\/(message|status)$/, why: WORDS },
  {
    at: /^stack files\/.*\/Labels\/com\.skep\.stack\.depends-on$/,
    why: '`depends_on` is kept by the cluster, from a label of the service',
  },
  {
    at: /^stack files\/.*\/shop_noup\/TaskTemplate\/RestartPolicy\/Condition$/,
    why: '`restart: "no"` means none; there it is no policy',
  },
  {
    at: /^the cluster\/its settings\/Dispatcher\/HeartbeatPeriod$/,
    why: '`HeartbeatPeriod` is 2 s by default',
  },
];
