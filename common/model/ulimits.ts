/**
 * The resource limits of a process by the names that users give them, in the order of the kernel's
 * numbers (asm-generic/resource.h).
 */
export const ULIMITS: readonly string[] = [
  'cpu',
  'fsize',
  'data',
  'stack',
  'core',
  'rss',
  'nproc',
  'nofile',
  'memlock',
  'as',
  'locks',
  'sigpending',
  'msgqueue',
  'nice',
  'rtprio',
  'rttime',
];
