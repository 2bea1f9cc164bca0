import { describe, expect, test } from 'vitest';
import { DEFAULT_ISOLATION, type Isolation } from '../../../common/model/service.ts';
import { idMappingsOf, NO_USER_NAMESPACES } from '../../../worker/executor/user-namespace.ts';

const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const MAPPINGS = { uid: ids, gid: ids };
const REMAPPED = { remap: MAPPINGS, offered: MAPPINGS };

function chosen(change: Partial<Isolation>, node = REMAPPED, more = {}) {
  const wish = { isOnHostNetwork: false, joined: null, ...more };
  return idMappingsOf({ isolation: { ...DEFAULT_ISOLATION, ...change }, ...wish }, node);
}

describe('the user namespace of a container', () => {
  test.each([
    ['default', REMAPPED, MAPPINGS],
    ['private', REMAPPED, MAPPINGS],
    ['host', REMAPPED, null],
    ['default', { remap: null, offered: MAPPINGS }, null],
    ['private', { remap: null, offered: MAPPINGS }, MAPPINGS],
  ] as const)('%s on a node with %j', (user, node, expected) => {
    expect(chosen({ user }, node as typeof REMAPPED)).toBe(expected);
  });

  test('is refused where the node has no ids', () => {
    const wish = {
      isolation: { ...DEFAULT_ISOLATION, user: 'private' as const },
      isOnHostNetwork: false,
    };
    expect(() => idMappingsOf({ ...wish, joined: null }, NO_USER_NAMESPACES)).toThrow(
      'user namespace: this node was started without --userns-remap',
    );
  });

  test.each([
    ['privileged', { privileged: true }, {}, /privileged mode is incompatible/],
    ['the pid namespace of the host', { pid: 'host' as const }, {}, /host PID namespace/],
    ['its network', {}, { isOnHostNetwork: true }, /host's network namespace/],
    ['what another container has', {}, { joined: 'a thing' }, /share a thing .*--userns host/],
  ])('rules out %s, but for containers without one', (_what, change, more, words) => {
    expect(() => chosen(change, REMAPPED, more)).toThrow(words);
    expect(chosen({ ...change, user: 'host' }, REMAPPED, more)).toBeNull();
  });
});
