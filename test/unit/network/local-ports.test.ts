import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { type BoundPort, LocalPorts, type PortWish } from '../../../worker/network/local-ports.ts';

const WISH: PortWish = {
  protocol: 'tcp',
  targetPort: 80,
  hostIp: '',
  firstHostPort: 8080,
  lastHostPort: 8080,
};

/** Ports of a host without 10.9.9.9 on which `taken` are in use by somebody else. */
function scene(...taken: number[]) {
  const held = new Set(taken);
  const hold = async ({ hostIp, hostPort }: BoundPort) => {
    if (hostIp === '10.9.9.9') throw new Error('cannot assign requested address');
    if (held.has(hostPort)) return null;
    held.add(hostPort);
    return { release: () => held.delete(hostPort) };
  };
  const ports = new LocalPorts(new SeededRandom(1), silentLogger, {
    hold,
    clusterHolder: ({ publishedPort }) => (publishedPort === 7070 ? 'service web' : null),
    nameProcess: (protocol, port) => `process ${protocol} ${port}`,
  });
  return { ports, held };
}

describe('ports of containers outside of services', () => {
  test('are those that were asked for, on every address of the host', async () => {
    const { ports } = scene();
    expect(await ports.claim('a', [WISH])).toEqual([
      { protocol: 'tcp', targetPort: 80, hostIp: '0.0.0.0', hostPort: 8080 },
    ]);
  });

  test('of a range are the first free ones', async () => {
    const { ports } = scene(8080, 8081);
    const [bound] = await ports.claim('a', [{ ...WISH, lastHostPort: 8090 }]);
    expect(bound?.hostPort).toBe(8082);
  });

  test('that nobody chose are of the range for outgoing connections', async () => {
    const { ports } = scene();
    const [bound] = await ports.claim('a', [{ ...WISH, firstHostPort: 0, lastHostPort: 0 }]);
    expect(bound?.hostPort).toBeGreaterThanOrEqual(32_768);
    expect(bound?.hostPort).toBeLessThan(60_999);
  });

  test('are given all or not at all', async () => {
    const { ports, held } = scene(9090);
    const other = { ...WISH, hostIp: '10.0.0.1', firstHostPort: 9090, lastHostPort: 9090 };
    await expect(ports.claim('a', [WISH, other])).rejects.toMatchObject({
      code: 'conflict',
      message: 'Bind for 10.0.0.1:9090 failed: port is already allocated: process tcp 9090 has it',
    });
    expect([...held]).toEqual([9090]);
  });

  test('name who has the one that cannot be had', async () => {
    const { ports } = scene();
    await ports.claim('0123456789abcdef', [WISH]);
    const wanted = { code: 'conflict', message: expect.stringContaining('container 0123456789ab') };
    await expect(ports.claim('b', [WISH])).rejects.toMatchObject(wanted);
    const at = (protocol: 'tcp' | 'udp', hostIp = '') =>
      ports.holderOf({ protocol, publishedPort: 8080, hostIp });
    expect(at('tcp')).toBe('container 0123456789ab');
    expect(at('udp')).toBeNull();
    expect(at('tcp', '10.0.0.5')).toBe('container 0123456789ab'); // it has the port on every address
    const mesh = { ...WISH, firstHostPort: 7070, lastHostPort: 7070 };
    await expect(ports.claim('b', [mesh])).rejects.toThrow('service web has it');
    // Of a range the next one is taken.
    const [bound] = await ports.claim('b', [{ ...mesh, lastHostPort: 7071 }]);
    expect(bound?.hostPort).toBe(7071);
  });

  test('are free again when their holder lets go of them', async () => {
    const { ports, held } = scene();
    await ports.claim('a', [WISH]);
    await expect(ports.claim('b', [WISH])).rejects.toMatchObject({ code: 'conflict' });
    ports.release('a');
    expect(held.size).toBe(0);
    await ports.claim('b', [WISH]);
  });

  test('of a holder from before a restart are taken again, as far as nobody else has them', async () => {
    const { ports, held } = scene(1);
    const port = { protocol: 'tcp' as const, targetPort: 80, hostIp: '0.0.0.0' };
    await ports.reclaim('a', [
      { ...port, hostPort: 1 },
      { ...port, hostPort: 2 },
    ]);
    expect([...held]).toEqual([1, 2]);
    ports.close();
    expect([...held]).toEqual([1]);
  });

  test('of an address that the host has no longer are left to the rules, the others are taken again', async () => {
    const { ports, held } = scene();
    const port = { protocol: 'tcp' as const, targetPort: 80 };
    await ports.reclaim('a', [
      { ...port, hostIp: '10.9.9.9', hostPort: 1 },
      { ...port, hostIp: '0.0.0.0', hostPort: 2 },
    ]);
    expect([...held]).toEqual([2]);
  });
});
