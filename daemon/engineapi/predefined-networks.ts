/** The networks that every engine has and nobody makes: bridge, host and none. */
import { createHash } from 'node:crypto';

export const PREDEFINED_NETWORKS: readonly string[] = ['bridge', 'host', 'none'];

/** Of this engine alone; a name that is none of the three has one, too. */
export function predefinedNetworkId(engineId: string, name: string): string {
  return createHash('sha256').update(`${engineId}/${name}`).digest('hex');
}

/** The name behind such an id; null for any other text. */
export function predefinedNetworkName(engineId: string, id: string): string | null {
  return PREDEFINED_NETWORKS.find((name) => predefinedNetworkId(engineId, name) === id) ?? null;
}
