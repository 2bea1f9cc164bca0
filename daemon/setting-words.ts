/** Words of settings that flags and the configuration file have in common. */

/** A name of a control group. */
export const CGROUP_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** What a switch may be set to. */
export const SWITCH_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...(['true', '1'] as const).map((word) => [word, true] as const),
  ...(['false', '0'] as const).map((word) => [word, false] as const),
]);
