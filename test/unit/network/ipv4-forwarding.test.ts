import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Ipv4Forwarding } from '../../../worker/network/ipv4-forwarding.ts';

let dir: string;
let file: string;
/** what the kernel has */
let value: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-forwarding-'));
  file = join(dir, 'ip_forward');
  value = '0';
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** As a daemon that starts has it. */
const aForwarding = () =>
  new Ipv4Forwarding(file, {
    read: () => value,
    write: async (wanted) => {
      value = wanted;
    },
  });

describe('forwarding of IPv4', () => {
  test.each([
    ['0', '0'],
    ['1', '1'],
  ])('that was %s is so again after the cluster is left', async (before, after) => {
    value = before;
    const forwarding = aForwarding();
    await forwarding.use('cluster');
    expect(forwarding.isOn).toBe(true);
    await forwarding.leave();
    expect(value).toBe(after);
    expect(existsSync(file)).toBe(false);
  });

  test('stays while networks of the node need it, and goes with them', async () => {
    const forwarding = aForwarding();
    await forwarding.use('local'); // the first to turn it on
    await forwarding.use('cluster');
    await forwarding.leave();
    expect(value).toBe('1');
    await forwarding.letGo('local');
    expect(value).toBe('0');
  });

  test('stays after the last container of a node that has left no cluster', async () => {
    const forwarding = aForwarding();
    await forwarding.use('local');
    await forwarding.letGo('local');
    expect(value).toBe('1');
    await forwarding.leave();
    expect(value).toBe('0');
  });

  test('is put back as it was before an earlier life of the daemon', async () => {
    await aForwarding().use('cluster');
    const next = aForwarding();
    value = '0'; // somebody turned it off, and on it goes again
    await next.use('cluster');
    value = '1';
    await next.leave();
    expect(value).toBe('0');
  });

  test('of which nothing readable was kept stays as it is', async () => {
    writeFileSync(file, 'x');
    value = '1';
    await aForwarding().leave();
    expect(value).toBe('1');
    expect(existsSync(file)).toBe(false);
  });
});
