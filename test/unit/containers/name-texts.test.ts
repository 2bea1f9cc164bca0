import { describe, expect, test } from 'vitest';
import { type NameParts, nameFiles } from '../../../worker/containers/name-texts.ts';

function files(overrides: Partial<NameParts> = {}) {
  return nameFiles({
    container: { dns: { nameservers: [], search: [], options: [] }, domainname: '', hosts: [] },
    hostname: 'box',
    addresses: ['172.17.0.2'],
    hasResolver: false,
    isOnHost: false,
    nameservers: ['10.0.0.53'],
    gateway: '172.17.0.1',
    ...overrides,
  });
}

describe('names of a container outside of services', () => {
  test('are asked of the host’s resolvers, and of those that it is given', () => {
    expect(files().resolvConf).toBe('nameserver 10.0.0.53\n');
    const dns = { nameservers: ['1.1.1.1'], search: ['a.b', 'c'], options: ['ndots:2'] };
    const container = { dns, domainname: '', hosts: [] };
    expect(files({ container }).resolvConf).toBe(
      'nameserver 1.1.1.1\nsearch a.b c\noptions ndots:2\n',
    );
  });

  test('are asked of the resolver of its own namespace where it has one', () => {
    const dns = { nameservers: ['1.1.1.1'], search: ['a.b'], options: [] };
    const container = { dns, domainname: '', hosts: [] };
    const { resolvConf, hosts } = files({
      container,
      hasResolver: true,
      addresses: ['172.18.0.2', '172.19.0.2'],
    });
    expect(resolvConf).toBe('nameserver 127.0.0.11\nsearch a.b\noptions ndots:0\n');
    expect(hosts).toContain('172.18.0.2\tbox\n172.19.0.2\tbox\n');
  });

  test('a resolver at a loopback address is only good on the host’s own network', () => {
    const nameservers = ['127.0.0.53', '::1'];
    expect(files({ nameservers }).resolvConf).toBe('nameserver 8.8.8.8\nnameserver 8.8.4.4\n');
    expect(files({ nameservers, isOnHost: true }).resolvConf).toContain('nameserver 127.0.0.53');
  });

  test('its own stands in hosts, with its domain; host-gateway is the host', () => {
    const dns = { nameservers: [], search: [], options: [] };
    const container = { dns, domainname: 'a.b', hosts: ['host-gateway up', '1.2.3.4 other'] };
    const { hosts } = files({ container });
    expect(hosts).toContain('172.17.0.2\tbox.a.b box\n');
    expect(hosts).toContain('172.17.0.1\tup\n');
    expect(hosts).toContain('1.2.3.4\tother\n');
    expect(files({ container, addresses: [], gateway: null }).hosts).not.toMatch(/box|up/);
  });
});
