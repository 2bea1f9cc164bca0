/** The programs of others that images are measured with, from Debian's packages. */
import { existsSync } from 'node:fs';

const PEERS = ['/usr/bin/docker-registry', '/usr/bin/skopeo', '/usr/bin/umoci'];

/** Why nothing is measured; null = all are here. */
export function missingPeers(): string | null {
  const missing = PEERS.filter((path) => !existsSync(path));
  if (missing.length === 0) return null;
  return `not measured, for want of ${missing.join(', ')}: scripts/setup --test`;
}
