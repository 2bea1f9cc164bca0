/** The networks that every engine has and nobody makes: bridge, host and none. */
import { createHash } from 'node:crypto';
import { isoTime } from './json/common.ts';

/** Of this engine alone; a name that is none of the three has one, too. */
export function predefinedNetworkId(engineId: string, name: string): string {
  return createHash('sha256').update(`${engineId}/${name}`).digest('hex');
}

export function predefinedNetworks(engineId: string): readonly object[] {
  return ['bridge', 'host', 'none'].map((name) => ({
    Name: name,
    Id: predefinedNetworkId(engineId, name),
    Created: isoTime(0),
    Scope: 'local',
    Driver: name === 'none' ? 'null' : name,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: {},
    Labels: {},
  }));
}
