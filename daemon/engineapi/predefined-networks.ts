/** The networks that every engine has and nobody makes: host and none. */
import { createHash } from 'node:crypto';
import { isoTime } from './json/common.ts';

export function predefinedNetworks(engineId: string): readonly object[] {
  return ['host', 'none'].map((name) => ({
    Name: name,
    Id: createHash('sha256').update(`${engineId}/${name}`).digest('hex'),
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
