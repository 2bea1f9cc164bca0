import { describe, expect, test } from 'vitest';
import { lintStack, loadStack } from '../../../../cli/compose/load-stack.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

/** The verdict and words of one key of a file. */
function factOf(text: string, path: string): string {
  const { facts } = lintStack(stackRequestOf({ files: { 'f.yml': text } }));
  const fact = facts.find((one) => one.path === path);
  return fact ? `${fact.kind}: ${fact.text}` : 'nothing is said of it';
}

const service = (keys: string): string => `services:\n  web: {image: web, ${keys}}\n`;

describe('verdicts that depend on the value', () => {
  test.each([
    ['privileged: false', 'privileged', /^honoured/],
    ['privileged: "no"', 'privileged', /^honoured/],
    ['privileged: true', 'privileged', /^honoured/],
    ['init: true', 'init', /^honoured/],
    ['tty: true', 'tty', /^honoured/],
    ['pid: ', 'pid', /^honoured/],
    ['pid: host', 'pid', /^honoured/],
    ['pid: "service:db"', 'pid', /^honoured: ContainerSpec\.PidMode: of the task of that service/],
    ['pid: other', 'pid', /^refused: the mode of process ids is host or service:NAME/],
    ['ipc: "service:db"', 'ipc', /^honoured: ContainerSpec\.IpcMode: of the task/],
    ['ipc: shareable', 'ipc', /^honoured/],
    ['ipc: other', 'ipc', /^refused: the mode of IPC is/],
    ['network_mode: host', 'network_mode', /^honoured: Networks/],
    ['network_mode: none', 'network_mode', /^honoured: Networks/],
    ['network_mode: bridge', 'network_mode', /^refused: services in the bridge/],
    ['network_mode: "service:db"', 'network_mode', /^honoured: Networks: of the task of that/],
    ['network_mode: "container:db"', 'network_mode', /^mapped: Networks: .* this container_name/],
    ['network_mode: HOST', 'network_mode', /^refused: the mode of the network is host, none or/],
    ['ipc: private', 'ipc', /^honoured/],
    ['ipc: none', 'ipc', /^honoured/],
    ['uts: host', 'uts', /^honoured/],
    ['cgroup: host', 'cgroup', /^honoured/],
    ['cgroupns_mode: other', 'cgroupns_mode', /^refused/],
    ['userns_mode: keep-id', 'userns_mode', /^refused/],
    ['devices: ["/dev/fuse"]', 'devices', /^honoured/],
    ['blkio_config: {weight: 10}', 'blkio_config.weight', /^honoured/],
    ['isolation: default', 'isolation', /^honoured/],
    ['userns_mode: host', 'userns_mode', /^honoured/],
    ['use_api_socket: false', 'use_api_socket', /^honoured/],
    ['use_api_socket: true', 'use_api_socket', /^refused/],
    ['links: [db]', 'links', /^mapped/],
    ['links: ["db:database"]', 'links', /^refused/],
    ['logging: {driver: local}', 'logging.driver', /^honoured/],
    ['logging: {driver: syslog}', 'logging.driver', /^honoured/],
    ['logging: {driver: splunk}', 'logging.driver', /^refused: there are json-file, local, none/],
    ['security_opt: ["no-new-privileges"]', 'security_opt', /^mapped/],
    ['security_opt: ["seccomp=unconfined", "apparmor:unconfined"]', 'security_opt', /^mapped/],
    ['security_opt: ["seccomp:./own.json", "apparmor:mine"]', 'security_opt', /^mapped/],
    ['security_opt: ["label:type:x"]', 'security_opt', /^refused: "label:type:x"/],
    ['volumes: [{type: image, source: a, target: /a}]', 'volumes.0.type', /^refused: .*image/],
    [
      'volumes: [{type: bind, source: /a, target: /a, bind: {recursive: readonly}}]',
      'volumes.0.bind.recursive',
      /^honoured/,
    ],
    [
      'volumes: [{type: bind, source: /a, target: /a, bind: {propagation: rshared}}]',
      'volumes.0.bind.propagation',
      /^honoured/,
    ],
    ['networks: {own: {ipv4_address: 10.9.0.5}}', 'networks.own.ipv4_address', /^honoured/],
    ['networks: {own: {interface_name: front}}', 'networks.own.interface_name', /^honoured/],
    ['networks: {own: {interface_name: eth0}}', 'networks.own.interface_name', /^refused: .*eth0/],
    [
      'networks: {own: {driver_opts: {com.docker.network.endpoint.ifname: front}}}',
      'networks.own.driver_opts',
      /^honoured/,
    ],
    [
      'networks: {own: {driver_opts: {colour: red}}}',
      'networks.own.driver_opts',
      /^refused: DriverOpts "colour"/,
    ],
    ['networks: {own: {ipv6_address: "fd00::5"}}', 'networks.own.ipv6_address', /^refused/],
    ['ports: [{target: 1, host_ip: 127.0.0.1}]', 'ports.0.host_ip', /^honoured/],
    ['depends_on: [web2]', 'depends_on', /^honoured: the order of first starts/],
    ['build: {context: .}', 'build', /^ignored: images are not built here/],
    ['x-own: 1', 'x-own', /^extension/],
  ])('%s', (keys, key, expected) => {
    expect(factOf(service(keys), `services.web.${key}`)).toMatch(expected);
  });

  test.each([
    ['networks', 'driver: overlay', /^honoured/],
    ['networks', 'driver: bridge', /^refused/],
    ['networks', 'enable_ipv6: true', /^honoured/],
    ['networks', 'enable_ipv4: true', /^honoured/],
    ['networks', 'driver_opts: {encrypted: "false"}', /^honoured/],
    ['networks', 'driver_opts: {encrypted: ""}', /^honoured/],
    ['networks', 'driver_opts: {colour: red}', /^refused: option "colour"/],
    ['volumes', 'driver: local', /^honoured/],
    ['volumes', 'driver: nfs', /^refused/],
    ['volumes', 'driver_opts: {}', /^honoured/],
    ['volumes', 'driver_opts: {type: tmpfs, device: tmpfs}', /^honoured/],
    ['volumes', 'driver_opts: {type: tmpfs}', /^refused: missing required option: "device"/],
    ['secrets', 'template_driver: golang', /^honoured/],
    ['configs', 'template_driver: jinja', /^refused/],
    ['secrets', 'driver: vault', /^refused/],
  ])('%s: %s', (section, keys, expected) => {
    const use = { networks: 'networks: [one]', volumes: 'volumes: ["one:/d"]' };
    const user = service(use[section as keyof typeof use] ?? '');
    const text = `${user}${section}:\n  one: {${keys}}\n`;
    expect(factOf(text, `${section}.one.${keys.split(':')[0]}`)).toMatch(expected);
  });
});

describe('networks and volumes that no service uses', () => {
  const text = `${service('networks: [used], volumes: ["kept:/k"]')}networks:
  used: {internal: true}
  one: {driver: bridge, internal: true}
  two:
volumes:
  kept: {labels: {a: b}}
  three: {external: true}
`;

  test('are not made, and no word of them is honoured or refused', () => {
    const { facts } = lintStack(stackRequestOf({ files: { 'f.yml': text } }));
    const told = facts.filter(({ path }) => /^(networks|volumes)\./.test(path));
    expect(
      told.map(({ path, kind, place }) => [path, kind, place.source.position(place.start).line]),
    ).toEqual([
      ['networks.used.internal', 'honoured', 4],
      ['networks.one', 'ignored', 5],
      ['networks.two', 'ignored', 6],
      ['volumes.kept.labels', 'honoured', 8],
      ['volumes.three', 'ignored', 9],
    ]);
  });

  test('stop no deployment, and are told', () => {
    const { stack, warnings } = loadStack(stackRequestOf({ files: { 'f.yml': text } }));
    expect(stack.networks.map(({ Name }) => Name)).toEqual(['shop_used']);
    expect(warnings).toContain(
      'f.yml:5:3: networks.one has no effect: no service uses it: it is not made',
    );
  });
});

describe('keys of older files', () => {
  const task = (keys: string) =>
    loadStack(stackRequestOf({ files: { 'f.yml': service(keys) } })).stack.services[0]!.spec
      .TaskTemplate;

  test.each([
    ['cpus: 0.5', { Limits: { NanoCPUs: 5e8 } }],
    ['cpu_quota: 50000', { Limits: { NanoCPUs: 5e8 } }],
    ['cpu_quota: 50000, cpu_period: 10000', { Limits: { NanoCPUs: 5e9 } }],
    ['cpu_quota: -1', {}],
    [
      'mem_limit: 64m, memswap_limit: 96m',
      { Limits: { MemoryBytes: 67108864 }, SwapBytes: 33554432 },
    ],
    ['mem_limit: 64m, memswap_limit: -1', { Limits: { MemoryBytes: 67108864 }, SwapBytes: -1 }],
    ['mem_reservation: 1g', { Reservations: { MemoryBytes: 1073741824 } }],
    ['pids_limit: -1', {}],
    ['pids_limit: 7', { Limits: { Pids: 7 } }],
    [
      'mem_limit: 64m, deploy: {resources: {limits: {memory: 64M}}}',
      { Limits: { MemoryBytes: 67108864 } },
    ],
  ])('%s', (keys, expected) => {
    expect(task(keys).Resources).toEqual({ Limits: {}, Reservations: {}, ...expected });
  });

  test('a platform narrows the nodes, whatever the variant', () => {
    expect(task('platform: linux/arm64/v8').Placement).toEqual({
      Platforms: [{ OS: 'linux', Architecture: 'arm64' }],
    });
  });

  test('scale counts replicas', () => {
    const { stack } = loadStack(stackRequestOf({ files: { 'f.yml': service('scale: 3') } }));
    expect(stack.services[0]!.spec.Mode).toEqual({ Replicated: { Replicas: 3 } });
  });
});
