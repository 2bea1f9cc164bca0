import { describe, expect, test } from 'vitest';
import { loadStack } from '../../../../cli/compose/load-stack.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import type { Stack, StackRequest } from '../../../../cli/compose/stack.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const FILES: Readonly<Record<string, string>> = {
  'app.env': '# settings\nA=file\nB=from file\nPASSED\nABSENT\n',
  'key.txt': 'secret',
};

function load(text: string, change: Partial<StackRequest> = {}): Stack {
  return loadStack(requestOf(text, change)).stack;
}

function requestOf(text: string, change: Partial<StackRequest> = {}): StackRequest {
  return stackRequestOf({ files: { 'stack.yml': text, ...FILES } }, change);
}

/** Lines that a deployment prints. */
const warningsOf = (text: string): readonly string[] => loadStack(requestOf(text)).warnings;

function errorOf(text: string): StackFileError {
  try {
    load(text);
  } catch (err) {
    if (err instanceof StackFileError) return err;
    throw err;
  }
  throw new Error('the file was accepted');
}

const placesOf = (text: string): string[] =>
  errorOf(text).problems.map(({ line, column, message }) => `${line}:${column} ${message}`);

/** The spec of the only service, whose body is `keys`, indented by four. */
function service(keys: string, rest = '') {
  const body = keys.replace(/^/gm, '    ');
  return load(`services:\n  web:\n    image: web:1\n${body}\n${rest}`).services[0]!.spec;
}

const container = (keys: string, rest = '') => service(keys, rest).TaskTemplate.ContainerSpec;

describe('the network of a node', () => {
  const OUTSIDE = 'networks:\n  outside: {external: true, name: host}\n';
  const head = 'services:\n  web:\n    image: web:1\n';

  test.each(['host', 'none'])('is named by network_mode: %s', (word) => {
    const [web] = load(`${head}    network_mode: ${word}\n    container_name: front\n`).services;
    expect(web!.spec.TaskTemplate.Networks).toEqual([{ Target: word }]);
  });

  test('needs no network of the stack', () => {
    const stack = load(`${head}    network_mode: host\n`);
    expect([stack.networks, stack.external]).toEqual([[], []]);
  });

  test('is an external network, too, and has no names there', () => {
    const spec = service('networks: [outside]', OUTSIDE);
    expect(spec.TaskTemplate.Networks).toEqual([{ Target: 'host' }]);
  });

  test('keeps a port of the host free', () => {
    const keys = 'network_mode: host\nports: [{target: 80, published: 80, mode: host}]';
    expect(service(keys).EndpointSpec!.Ports).toHaveLength(1);
  });

  test.each([
    ['network_mode: host\n    networks: [default]', '4:19', 'cannot be given together'],
    ['network_mode: host\n    ports: ["80:80"]', '5:12', 'the routing mesh does not reach it'],
    ['network_mode: "service:db"', '4:19', 'there is no service "db" in this deployment'],
    ['network_mode: bridge', '4:5', 'network_mode is refused: services in the bridge'],
    ['networks: {outside: {aliases: [a]}}', '4:35', 'network host has no names of the cluster'],
    ['networks: [outside, default]', '4:15', 'cannot be combined with other networks'],
  ])('is refused with its place: %s', (keys, place, words) => {
    const [told] = placesOf(`${head}    ${keys}\n${OUTSIDE}`);
    expect(told).toMatch(new RegExp(`^${place} .*${words}`));
  });
});

describe('conversion of a stack file', () => {
  test('makes the WordPress-shaped stack of the course', () => {
    const text = `version: "3"
services:
  mysql:
    image: mysql:5.7
    volumes:
      - db_data:/var/lib/mysql
    restart: always
    environment:
      MYSQL_ROOT_PASSWORD: somewordpress
  wordpress:
    depends_on:
      - mysql
    image: wordpress:latest
    deploy:
      replicas: 2
    ports:
      - "8080:80"
    restart: always
    environment:
      WORDPRESS_DB_HOST: mysql:3306
volumes:
  db_data: {}
`;
    const stack = load(text, { name: 'wordpress' });
    const labels = (extra: object) => ({ 'com.docker.stack.namespace': 'wordpress', ...extra });
    expect(stack.networks).toEqual([
      { Name: 'wordpress_default', Driver: 'overlay', Labels: labels({}) },
    ]);
    expect(stack.services.map(({ spec }) => spec)).toEqual([
      {
        Name: 'wordpress_mysql',
        Labels: labels({ 'com.docker.stack.image': 'mysql:5.7' }),
        TaskTemplate: {
          ContainerSpec: {
            Image: 'mysql:5.7',
            Labels: labels({}),
            Env: ['MYSQL_ROOT_PASSWORD=somewordpress'],
            Mounts: [
              {
                Type: 'volume',
                Source: 'wordpress_db_data',
                Target: '/var/lib/mysql',
                VolumeOptions: { Labels: labels({}) },
              },
            ],
            DNSConfig: {},
          },
          Resources: { Limits: {}, Reservations: {} },
          RestartPolicy: { Condition: 'any' },
          Placement: {},
          Networks: [{ Target: 'wordpress_default', Aliases: ['mysql'] }],
          ForceUpdate: 0,
        },
        Mode: { Replicated: { Replicas: 1 } },
        EndpointSpec: {},
      },
      expect.objectContaining({
        Name: 'wordpress_wordpress',
        Labels: labels({
          'com.docker.stack.image': 'wordpress:latest',
          'com.skep.stack.depends-on': '{"wordpress_mysql":"service_started"}',
        }),
        Mode: { Replicated: { Replicas: 2 } },
        EndpointSpec: {
          Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }],
        },
      }),
    ]);
    expect(stack.services[1]!.dependsOn).toEqual([
      { service: 'mysql', condition: 'service_started', required: true },
    ]);
    expect(warningsOf(text)).toEqual([]);
  });

  test.each([
    ['command: sh -c "echo hi"', { Args: ['sh', '-c', 'echo hi'] }],
    ['command: [a, "b c"]', { Args: ['a', 'b c'] }],
    ['entrypoint: /run.sh', { Command: ['/run.sh'] }],
    ['environment: [B=2, A=1, PASSED, UNSET]', { Env: ['A=1', 'B=2', 'PASSED=through', 'UNSET'] }],
    ['environment: {N: 5, Y: true, E: "", V: "${TAG}"}', { Env: ['E=', 'N=5', 'V=2', 'Y=true'] }],
    [
      'env_file: app.env\nenvironment: {A: own}',
      { Env: ['A=own', 'B=from file', 'PASSED=through'] },
    ],
    ['env_file: [{path: gone.env, required: false}]', {}],
    ['hostname: h\nuser: "1:2"\nworking_dir: /w', { Hostname: 'h', User: '1:2', Dir: '/w' }],
    [
      'stop_grace_period: 1m30s\nstop_signal: SIGINT',
      { StopGracePeriod: 90e9, StopSignal: 'SIGINT' },
    ],
    ['init: false\nread_only: yes\ntty: false\nstdin_open: false', { Init: false, ReadOnly: true }],
    ['extra_hosts: ["db:10.0.0.9"]', { Hosts: ['10.0.0.9 db'] }],
    ['extra_hosts: {db: "::1"}', { Hosts: ['::1 db'] }],
    [
      'dns: 9.9.9.9\ndns_search: [a.b]\ndns_opt: [ndots:1]',
      { DNSConfig: { Nameservers: ['9.9.9.9'], Search: ['a.b'], Options: ['ndots:1'] } },
    ],
    [
      'cap_add: [net_admin]\ncap_drop: [ALL, NET_ADMIN]',
      { CapabilityAdd: ['CAP_NET_ADMIN'], CapabilityDrop: ['ALL'] },
    ],
    ['sysctls: {net.core.somaxconn: 1024}', { Sysctls: { 'net.core.somaxconn': '1024' } }],
    [
      'ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}',
      {
        Ulimits: [
          { Name: 'nofile', Soft: 1, Hard: 2 },
          { Name: 'nproc', Soft: 5, Hard: 5 },
        ],
      },
    ],
    [
      'healthcheck: {test: curl x, interval: 5s, retries: 3}',
      { Healthcheck: { Test: ['CMD-SHELL', 'curl x'], Interval: 5e9, Retries: 3 } },
    ],
    ['healthcheck: {disable: true}', { Healthcheck: { Test: ['NONE'] } }],
    [
      'volumes: ["./a:/a:ro"]',
      { Mounts: [{ Type: 'bind', Source: '/src/a', Target: '/a', ReadOnly: true }] },
    ],
    [
      'volumes: ["~/a:/a", "/b:/b:rslave"]',
      {
        Mounts: [
          { Type: 'bind', Source: '/home/me/a', Target: '/a' },
          { Type: 'bind', Source: '/b', Target: '/b', BindOptions: { Propagation: 'rslave' } },
        ],
      },
    ],
    ...[
      ['enabled', undefined],
      ['disabled', { NonRecursive: true }],
      ['writable', { ReadOnlyNonRecursive: true }],
      ['readonly', { ReadOnlyForceRecursive: true }],
    ].map(([word, options]): [string, object] => [
      `volumes: [{type: bind, source: /a, target: /a, read_only: true, bind: {recursive: ${word}}}]`,
      {
        Mounts: [
          {
            ...{ Type: 'bind', Source: '/a', Target: '/a', ReadOnly: true },
            ...(options && { BindOptions: options }),
          },
        ],
      },
    ]),
    ['volumes: [/anonymous]', { Mounts: [{ Type: 'volume', Target: '/anonymous' }] }],
    [
      'volumes: [{type: volume, target: /a, read_only: true, volume: {nocopy: true, labels: {a: b}}}]',
      {
        Mounts: [
          {
            Type: 'volume',
            Target: '/a',
            ReadOnly: true,
            VolumeOptions: { NoCopy: true, Labels: { a: 'b' } },
          },
        ],
      },
    ],
    [
      'volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]',
      { Mounts: [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1048576 } }] },
    ],
    [
      'tmpfs: /run:mode=1777',
      { Mounts: [{ Type: 'tmpfs', Target: '/run', TmpfsOptions: { Mode: 0o1777 } }] },
    ],
  ])('container key %j', (keys, expected) => {
    const base = {
      Image: 'web:1',
      Labels: { 'com.docker.stack.namespace': 'shop' },
      DNSConfig: {},
    };
    expect(container(keys)).toEqual({ ...base, ...expected });
  });

  test.each([
    ['mode: global', { Mode: { Global: {} } }],
    ['replicas: 0', { Mode: { Replicated: { Replicas: 0 } } }],
    ['endpoint_mode: dnsrr', { EndpointSpec: { Mode: 'dnsrr' } }],
    [
      'update_config: {delay: 2s, order: start-first}',
      { UpdateConfig: { Parallelism: 1, Delay: 2e9, Order: 'start-first' } },
    ],
    [
      'rollback_config: {parallelism: 0, failure_action: continue}',
      { RollbackConfig: { Parallelism: 0, FailureAction: 'continue' } },
    ],
    [
      'labels: {a: b}',
      {
        Labels: { a: 'b', 'com.docker.stack.namespace': 'shop', 'com.docker.stack.image': 'web:1' },
      },
    ],
  ])('deploy key %j', (keys, expected) => {
    expect(service(`deploy:\n  ${keys}`)).toMatchObject(expected);
  });

  test.each([
    [
      'resources: {limits: {cpus: "0.5", memory: 64M, pids: 9}, reservations: {cpus: 1}}',
      {
        Resources: {
          Limits: { NanoCPUs: 5e8, MemoryBytes: 67108864, Pids: 9 },
          Reservations: { NanoCPUs: 1e9 },
        },
      },
    ],
    [
      'placement: {constraints: [node.role == worker], preferences: [{spread: node.labels.z}], max_replicas_per_node: 2}',
      {
        Placement: {
          Constraints: ['node.role == worker'],
          Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.z' } }],
          MaxReplicas: 2,
        },
      },
    ],
    [
      'restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 120s}',
      { RestartPolicy: { Condition: 'on-failure', Delay: 5e9, MaxAttempts: 3, Window: 120e9 } },
    ],
  ])('deploy key %j of the task', (keys, expected) => {
    expect(service(`deploy:\n  ${keys}`).TaskTemplate).toMatchObject(expected);
  });

  test.each([
    ['no', { Condition: 'none' }],
    ['always', { Condition: 'any' }],
    ['unless-stopped', { Condition: 'any' }],
    ['on-failure:4', { Condition: 'on-failure', MaxAttempts: 4 }],
  ])('restart: %s is honoured', (word, policy) => {
    expect(service(`restart: "${word}"`).TaskTemplate.RestartPolicy).toEqual(policy);
  });

  test('places in networks have the options that are given, and the name of their link', () => {
    const stack = load(`
services:
  web:
    image: web:1
    networks:
      front: {interface_name: front0}
      back:
        driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}
networks: {front: {}, back: {}}
`);
    expect(stack.services[0]!.spec.TaskTemplate.Networks).toEqual([
      {
        Target: 'shop_back',
        Aliases: ['web'],
        DriverOpts: {
          'com.docker.network.endpoint.sysctls': 'net.ipv4.conf.IFNAME.log_martians=1',
        },
      },
      {
        Target: 'shop_front',
        Aliases: ['web'],
        DriverOpts: { 'com.docker.network.endpoint.ifname': 'front0' },
      },
    ]);
  });

  test('attaches networks under their aliases and the service key, sorted by name', () => {
    const stack = load(`services:
  web:
    image: web:1
    networks:
      front: {aliases: [www]}
      out: null
networks:
  front: {driver_opts: {com.docker.network.driver.mtu: 1400}, attachable: true, ipam: {config: [{subnet: 10.9.0.0/24}]}}
  out: {external: true, name: company}
  unused: {}
`);
    expect(stack.services[0]!.spec.TaskTemplate.Networks).toEqual([
      { Target: 'company', Aliases: ['web'] },
      { Target: 'shop_front', Aliases: ['www', 'web'] },
    ]);
    expect(stack.external).toMatchObject([{ kind: 'network', name: 'company' }]);
    expect(stack.networks).toEqual([
      expect.objectContaining({
        Name: 'shop_front',
        Attachable: true,
        Options: { 'com.docker.network.driver.mtu': '1400' },
        IPAM: { Driver: 'default', Config: [{ Subnet: '10.9.0.0/24' }] },
      }),
    ]);
  });

  test('reads secrets and configs from files, the environment and the file itself', () => {
    const stack = load(`services:
  web:
    image: web:1
    secrets: [key, {source: tag, target: t, mode: 0400, uid: "7"}]
    configs: [conf]
secrets:
  key: {file: ./key.txt}
  tag: {environment: TAG}
configs:
  conf: {content: "tag \${TAG}"}
`);
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    expect(stack.secrets.map(({ Name, Data }) => [Name, Data])).toEqual([
      ['shop_key', base64('secret')],
      ['shop_tag', base64('2')],
    ]);
    expect(stack.configs.map(({ Name, Data }) => [Name, Data])).toEqual([
      ['shop_conf', base64('tag 2')],
    ]);
    expect(stack.services[0]!.secrets).toEqual([
      { name: 'shop_key', target: 'key', uid: '0', gid: '0', mode: 0o444 },
      { name: 'shop_tag', target: 't', uid: '7', gid: '0', mode: 0o400 },
    ]);
    expect(stack.services[0]!.configs).toEqual([
      { name: 'shop_conf', target: 'conf', uid: '0', gid: '0', mode: 0o444 },
    ]);
  });

  test('follows anchors and merge keys; what stands beside a merge wins', () => {
    const stack = load(`x-base: &base
  image: base:1
  environment: &env {A: "1", B: "2"}
services:
  one: *base
  two:
    <<: *base
    image: two:1
    environment:
      <<: [{C: "3"}, *env]
      B: own
`);
    expect(stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec.Image)).toEqual([
      'base:1',
      'two:1',
    ]);
    expect(stack.services[1]!.spec.TaskTemplate.ContainerSpec.Env).toEqual(['A=1', 'B=own', 'C=3']);
  });

  test('names each key without effect with its place, and nothing else is said', () => {
    const text = `services:
  web: {image: "web:1", build: ., annotations: {a: b}, x-own: 1}
`;
    expect(warningsOf(text)).toEqual([
      'stack.yml:2:25: services.web.build has no effect: images are not built here: `image` must name one',
      'stack.yml:2:35: services.web.annotations has no effect: nothing reads the annotations of a container',
    ]);
  });

  describe('gives a task its address', () => {
    const text = (service: string, network = 'ipam: {config: [{subnet: 10.9.0.0/24}]}') =>
      `services:\n  db:\n    image: db:1\n    networks: {back: {ipv4_address: 10.9.0.7}}\n    ${service}\nnetworks:\n  back: {${network}}\n`;

    test('in a network with a subnet, or one of others', () => {
      for (const network of [undefined, 'external: true']) {
        const stack = load(text('user: "5"', network));
        expect(stack.services[0]!.spec.TaskTemplate.Networks).toEqual([
          expect.objectContaining({ IPAMConfig: { IPv4Address: '10.9.0.7' } }),
        ]);
      }
      expect(warningsOf(text('user: "5"'))).toEqual([]);
    });

    test.each([
      ['deploy: {replicas: 2}', undefined, 'only a service of one replica can have it'],
      ['deploy: {mode: global}', undefined, 'this one is of another mode'],
      ['deploy: {update_config: {order: start-first}}', undefined, 'must be stop-first'],
      ['user: "5"', 'attachable: true', 'needs a subnet that was chosen'],
      ['user: "5"', 'ipam: {config: [{subnet: 10.8.0.0/24}]}', 'is not in its subnet 10.8.0.0/24'],
    ])('not with %s, network %s', (service, network, words) => {
      expect(errorOf(text(service, network)).message).toContain(words);
    });
  });

  test('expands ranges of ports, and keeps the address that they answer on', () => {
    const text =
      'services:\n  web:\n    image: web:1\n    ports: ["127.0.0.1:80-81:90-91/udp", {target: 5, published: "6", mode: host}, {target: 7, host_ip: "[FD00::5]"}, "0.0.0.0:9:9"]\n';
    const stack = load(text);
    expect(stack.services[0]!.spec.EndpointSpec?.Ports).toEqual([
      { Protocol: 'tcp', TargetPort: 7, PublishMode: 'ingress', HostIp: 'fd00::5' },
      { Protocol: 'tcp', TargetPort: 5, PublishedPort: 6, PublishMode: 'host' },
      { Protocol: 'tcp', TargetPort: 9, PublishedPort: 9, PublishMode: 'ingress' },
      ...[80, 81].map((published) => ({
        ...{ Protocol: 'udp', TargetPort: published + 10, PublishedPort: published },
        ...{ PublishMode: 'ingress', HostIp: '127.0.0.1' },
      })),
    ]);
    expect(warningsOf(text)).toEqual([]);
    const wrong = text.replace('0.0.0.0:9', 'web:9');
    expect(errorOf(wrong).message).toContain("'web' is no IP address");
  });
});

describe('mistakes in a stack file', () => {
  test('are told with file, line, column, the line and a caret', () => {
    const err = errorOf('services:\n  web:\n    image: web:1\n    deploy:\n      replica: 2\n');
    expect(err.message).toBe(
      `stack.yml:5:7: unknown key 'replica' in services.web.deploy; did you mean replicas?
  5 |       replica: 2
    |       ^^^^^^^`,
    );
  });

  test('are told all at once, in the order of the file', () => {
    const text = `services:
  web:
    image: Web:1
    ports: ["80:99999"]
    enviroment: {}
  db: {}
  own: {build: .}
volume: {}
`;
    expect(placesOf(text)).toEqual([
      expect.stringMatching(/^3:12 services.web.image: .*must be lowercase$/),
      '4:13 services.web.ports.0: invalid port "80:99999": ports are 1 to 65535',
      "5:5 unknown key 'enviroment' in services.web; did you mean environment?",
      '6:7 services.db: image is required',
      '7:16 services.own.build: images are not built here, and no image is named',
      "8:1 unknown key 'volume' at the top level; did you mean volumes?",
    ]);
  });

  test.each([
    [
      'a tab',
      'services:\n  web:\n\timage: x\n',
      '3:1 tab used as indentation: YAML takes spaces only (--fix-whitespace reads it as spaces)',
    ],
    [
      'a no-break space',
      'services:\n  web:\n    image: x\n\u00a0   ports: []\n',
      '4:1 no-break space (U+00A0) used as indentation: YAML takes spaces only (--fix-whitespace reads it as spaces)',
    ],
    [
      'a no-break space after spaces',
      'services:\n \u00a0web:\n',
      '2:2 no-break space (U+00A0) used as indentation: YAML takes spaces only (--fix-whitespace reads it as spaces)',
    ],
    [
      'a key given twice',
      'services:\n  web:\n    image: x\n    image: y\n',
      "4:5 key 'image' stands here twice: the first is on line 3",
    ],
    [
      'a word for a number',
      'services:\n  web: {image: x, deploy: {replicas: many}}\n',
      '2:38 services.web.deploy.replicas must be an integer: got "many"',
    ],
    ['a list for a mapping', 'services: []\n', '1:11 services must be a mapping'],
    ['an empty service', 'services:\n  web:\n', '2:3 services.web must be a mapping: it is empty'],
    ['no services', 'version: "3"\n', '1:1 the file has no services'],
    [
      'an unknown volume',
      'services:\n  web: {image: x, volumes: ["dat:/d"]}\nvolumes: {data: {}}\n',
      '2:29 services.web.volumes.0: undefined volume "dat"; did you mean data?',
    ],
    [
      'a part of a volume that is made anew',
      'services:\n  web: {image: x, volumes: [{type: volume, target: /a, volume: {subpath: b}}]}\n',
      '2:74 services.web.volumes.0: a subpath is of a volume with a source: a new one is empty',
    ],
    [
      'an unknown network',
      'services:\n  web: {image: x, networks: [back]}\n',
      '2:30 services.web.networks.0: undefined network "back"; declare it under the top-level networks',
    ],
    [
      'an unknown secret',
      'services:\n  web: {image: x, secrets: [key]}\n',
      '2:29 services.web.secrets.0: undefined secret "key"; declare it under the top-level secrets',
    ],
    [
      'a missing env file',
      'services:\n  web: {image: x, env_file: no.env}\n',
      '2:29 cannot read no.env: no such file or directory',
    ],
    [
      'a name that cannot be one',
      'services:\n  web.1: {image: x}\n',
      expect.stringMatching(/^2:10 services.web.1: name must be valid as a DNS name component/),
    ],
    [
      'replicas of a global service',
      'services:\n  web: {image: x, deploy: {mode: global, replicas: 2}}\n',
      '2:52 services.web.deploy.replicas: replicas can only be used with replicated mode',
    ],
    [
      'a missing variable',
      'services:\n  web: {image: "x:${V:?set V}"}\n',
      '2:16 services.web.image: required variable V is missing a value: set V',
    ],
    [
      'a broken variable',
      'services:\n  web: {image: "x:${}"}\n',
      expect.stringMatching(/^2:16 services.web.image: invalid interpolation format/),
    ],
    [
      'two mounts in one place',
      'services:\n  web: {image: x, volumes: ["/a:/d", "/b:/d"]}\n',
      '2:28 services.web.volumes: two mounts at /d',
    ],
    [
      'external beside a driver',
      'services:\n  web: {image: x}\nvolumes:\n  v: {external: true, driver: local}\n',
      '4:31 volumes.v: driver conflicts with external',
    ],
    [
      'a secret from nowhere',
      'services:\n  web: {image: x}\nsecrets:\n  s: {}\n',
      '4:6 secrets.s: one of file, environment, content or external is needed',
    ],
  ])('%s', (_, text, place) => {
    expect(placesOf(text)).toEqual([place]);
  });

  test('tabs within a block text are no mistake', () => {
    const stack = load('services:\n  web:\n    image: x\n    command: |\n      a\n      \tb\n');
    expect(stack.services[0]!.spec.TaskTemplate.ContainerSpec.Args).toEqual(['a', 'b']);
  });

  test('a name of a stack that cannot be one is refused', () => {
    expect(() => load('services: {}', { name: 'no dots.' })).toThrow(/name must be valid/);
  });
});
