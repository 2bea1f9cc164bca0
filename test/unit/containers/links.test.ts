import { describe, expect, test } from 'vitest';
import { linkEnvironment, linkHosts } from '../../../worker/containers/links.ts';
import { joinedWords, type Peer, withJoined } from '../../../worker/containers/peers.ts';
import { defaultProcess, defaultSpec } from '../../../worker/runtime/defaults.ts';

function peer(overrides: Partial<Peer> = {}): Peer {
  return {
    id: 'd'.repeat(64),
    name: 'db',
    hostname: 'box',
    pid: 77,
    isIpcShareable: false,
    bridgeAddress: '172.17.0.5',
    env: [],
    exposedPorts: [],
    ...overrides,
  };
}
const link = (alias: string) => [{ containerId: 'one', alias }];

describe('links in the network bridge', () => {
  test('put what moby puts into the environment', () => {
    const db = peer({
      env: ['PATH=/bin', 'HOME=/root', 'PASS=a=b', 'WITHOUT'],
      exposedPorts: ['6379/tcp', '53/udp', '53/tcp', '6379/tcp'],
    });
    expect(linkEnvironment('web', link('my-db'), () => db)).toEqual([
      'MY_DB_PORT=tcp://172.17.0.5:53',
      'MY_DB_PORT_53_TCP=tcp://172.17.0.5:53',
      'MY_DB_PORT_53_TCP_ADDR=172.17.0.5',
      'MY_DB_PORT_53_TCP_PORT=53',
      'MY_DB_PORT_53_TCP_PROTO=tcp',
      'MY_DB_PORT_6379_TCP=tcp://172.17.0.5:6379',
      'MY_DB_PORT_6379_TCP_ADDR=172.17.0.5',
      'MY_DB_PORT_6379_TCP_PORT=6379',
      'MY_DB_PORT_6379_TCP_PROTO=tcp',
      'MY_DB_PORT_53_UDP=udp://172.17.0.5:53',
      'MY_DB_PORT_53_UDP_ADDR=172.17.0.5',
      'MY_DB_PORT_53_UDP_PORT=53',
      'MY_DB_PORT_53_UDP_PROTO=udp',
      'MY_DB_NAME=/web/my-db',
      'MY_DB_ENV_PASS=a=b',
    ]);
  });

  test('ports that follow one another are a range besides', () => {
    const many = peer({ exposedPorts: ['81/tcp', '80/tcp', '82/tcp', '90/tcp', '91/tcp'] });
    const env = linkEnvironment('web', link('db'), () => many);
    expect(env.filter((entry) => /_(START|END)=/.test(entry))).toEqual([
      'DB_PORT_80_TCP_START=tcp://172.17.0.5:80',
      'DB_PORT_80_TCP_PORT_START=80',
      'DB_PORT_80_TCP_END=tcp://172.17.0.5:82',
      'DB_PORT_80_TCP_PORT_END=82',
    ]);
    expect(env).toContain('DB_PORT_81_TCP=tcp://172.17.0.5:81');
    expect(env).toContain('DB_PORT_91_TCP_PORT=91');
  });

  test('lead to what runs in that network only', () => {
    const start = (found: Peer | null) => () => linkEnvironment('web', link('x'), () => found);
    expect(start(peer({ pid: 0 }))).toThrow(
      'Cannot link to a non running container: /db AS /web/x',
    );
    expect(start(null)).toThrow('Cannot link to a non running container: /one AS /web/x');
    expect(start(peer({ bridgeAddress: '' }))).toThrow(
      'Cannot link to /db, as it does not belong to the default network',
    );
  });

  test('are lines of the hosts file, by alias, host name and name', () => {
    expect(linkHosts(link('x'), () => peer())).toEqual(['172.17.0.5 x box db']);
    expect(linkHosts(link('db'), () => peer())).toEqual(['172.17.0.5 db box']);
    expect(linkHosts(link('db'), () => null)).toEqual([]);
  });
});

describe('namespaces of other containers', () => {
  const bundle = {
    spec: defaultSpec(['/layer'], defaultProcess(['sh'])),
    logMaxBytes: 0,
    logMaxFiles: 1,
  };
  const bridge = { kind: 'bridge' } as const;

  test('are joined as they are now', () => {
    const joined = { pid: 'one', ipc: 'two' };
    const peerOf = (id: string) => peer({ pid: id === 'one' ? 11 : 22, isIpcShareable: true });
    const { spec } = withJoined(bundle, { network: bridge, joined }, peerOf);
    const paths = spec.linux.namespaces.filter(({ path }) => path);
    expect(paths).toEqual([
      { type: 'pid', path: '/proc/11/ns/pid' },
      { type: 'ipc', path: '/proc/22/ns/ipc' },
    ]);
    const shm = spec.mounts.find(({ destination }) => destination === '/dev/shm');
    expect(shm).toMatchObject({ type: 'bind', sourceNamespace: '/proc/22/ns/mnt' });
    const again = withJoined({ ...bundle, spec }, { network: bridge, joined }, () => {
      return peer({ pid: 33, isIpcShareable: true });
    });
    expect(JSON.stringify(again.spec)).not.toMatch(/\/proc\/(11|22)\//);
    expect(withJoined(bundle, { network: bridge }, () => null)).toBe(bundle);
  });

  test('need one that runs, and one that shares its IPC', () => {
    const join = (joined: { pid: string | null; ipc: string | null }, found: Peer | null) => () =>
      withJoined(bundle, { network: bridge, joined }, () => found);
    expect(join({ pid: 'x', ipc: null }, null)).toThrow(
      'cannot join PID of a non running container: x',
    );
    expect(join({ pid: null, ipc: 'x' }, peer({ pid: 0 }))).toThrow('cannot join IPC of a non');
    expect(join({ pid: null, ipc: 'x' }, peer())).toThrow(
      "can't join IPC of container x: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
    );
  });

  test('are told in words', () => {
    expect(joinedWords({ network: bridge })).toBeNull();
    expect(joinedWords({ network: bridge, joined: { pid: null, ipc: 'x' } })).toBe(
      "another container's IPC namespace",
    );
    expect(joinedWords({ network: { kind: 'container', containerId: 'x' } })).toBe(
      "another container's network namespace",
    );
  });
});
