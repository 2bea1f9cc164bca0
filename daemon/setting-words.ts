/** Words of settings that flags and the configuration file have in common. */

/** A name of a control group. */
export const CGROUP_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** What a switch may be set to: the words of Go's flags, which dockerd's are. */
export const SWITCH_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...['true', 'True', 'TRUE', 't', 'T', '1'].map((word) => [word, true] as const),
  ...['false', 'False', 'FALSE', 'f', 'F', '0'].map((word) => [word, false] as const),
]);
