// What the keys of a stack file do, seen in the containers that run: one stack, a service for each key.
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/keys:1';
const OTHER_IMAGE = 'skep-test/keys:2';
/** One that the kernel has and containers are not given by themselves. */
const DEVICE = ['/dev/fuse', '/dev/net/tun', '/dev/loop-control'].find(existsSync) ?? '/dev/fuse';
const PUBLISHED = 18_460;

interface KeyCase {
  /** of a service that sleeps; lines as they stand below its name */
  readonly yaml: string;
  /** said by a shell in its container */
  readonly asks: string;
  readonly answers: string | RegExp;
}

const LOOP = 'while :; do sleep 1; done';
/** Words of the first process. */
const ARGV = `tr '\\0' '|' </proc/1/cmdline`;
const LOOP_ARGV = `/bin/sh|-c|${LOOP}|two words|`;
/** What asks for a line of the first process's status, and of its limits. */
const statusField = (name: string): string => `sed -n 's/^${name}:[[:space:]]*//p' /proc/1/status`;
const limitOf = (name: string): string => `sed -n 's/^${name} *//p' /proc/1/limits`;

/** Of this process, which the node has, too. */
function namespaceOf(kind: string): string {
  return readlinkSync(`/proc/self/ns/${kind}`);
}

/** Each of the course's settings and of the keys that Swarm drops, and what else people set. */
const CASES: Readonly<Record<string, KeyCase>> = {
  'cap_add and cap_drop': {
    yaml: 'cap_add: [NET_ADMIN, SYS_ADMIN]\ncap_drop: [CHOWN]',
    asks: `${statusField('CapEff')}; chown 1:1 /tmp 2>&1`,
    // CHOWN is bit 0, NET_ADMIN 12, SYS_ADMIN 21; the rest are Docker's fourteen.
    answers: '00000000a82435fa\nchown: /tmp: Operation not permitted',
  },
  'command as a text': {
    yaml: `command: /bin/sh -c '${LOOP}' "two words"`,
    asks: ARGV,
    answers: LOOP_ARGV,
  },
  'command as a list': {
    yaml: `command: [/bin/sh, -c, '${LOOP}', 'two words']`,
    asks: ARGV,
    answers: LOOP_ARGV,
  },
  'entrypoint as a text': {
    yaml: `entrypoint: /bin/sh -c '${LOOP}'\ncommand: ['two words']`,
    asks: ARGV,
    answers: LOOP_ARGV,
  },
  'entrypoint as a list': {
    yaml: `entrypoint: [/bin/sh, -c, '${LOOP}']\ncommand: ['two words']`,
    asks: ARGV,
    answers: LOOP_ARGV,
  },
  devices: {
    yaml: `devices: ["${DEVICE}:/dev/mine"]`,
    asks: 'test -c /dev/mine && exec 3<>/dev/mine && echo open',
    answers: 'open',
  },
  'dns of a container without networks of the cluster': {
    yaml: 'network_mode: host\ndns: [192.0.2.53, 192.0.2.54]\ndns_search: [a.test, b.test]\ndns_opt: ["ndots:3"]',
    asks: 'cat /etc/resolv.conf',
    answers: 'nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch a.test b.test\noptions ndots:3',
  },
  'dns_search in a network': {
    yaml: 'dns_search: example.test',
    asks: 'grep -E "^(search|nameserver)" /etc/resolv.conf',
    answers: 'nameserver 127.0.0.11\nsearch example.test',
  },
  'env_file and environment': {
    yaml: 'env_file: [own.env]\nenvironment: {LATER: "2", SAID: "a b"}',
    asks: 'echo "$EARLIER $LATER $SAID"',
    answers: '1 2 a b',
  },
  image: { yaml: `image: ${OTHER_IMAGE}`, asks: 'cat /which', answers: 'the other' },
  pid: {
    yaml: 'pid: host',
    asks: 'readlink /proc/self/ns/pid',
    answers: namespaceOf('pid'),
  },
  ipc: {
    yaml: 'ipc: host',
    asks: 'readlink /proc/self/ns/ipc; grep -c " /dev/mqueue mqueue " /proc/mounts',
    answers: `${namespaceOf('ipc')}\n1`,
  },
  'network_mode none': {
    yaml: 'network_mode: none',
    asks: 'cut -d: -f1 -s /proc/net/dev | tr -d " "',
    answers: 'lo',
  },
  'networks, with the address of the task': {
    yaml: 'networks: {chosen: {ipv4_address: 172.16.1.11}}',
    asks: 'ip -4 -o addr | grep -o "172.16.1.[0-9/]*"',
    answers: '172.16.1.11/24',
  },
  'volumes, short, by name': {
    yaml: 'volumes: ["data:/data"]',
    asks: 'touch /data/x && grep " /data " /proc/mounts | cut -d" " -f4 | cut -d, -f1',
    answers: 'rw',
  },
  'volumes, short, of the host': {
    yaml: 'volumes: ["./shared:/shared:ro"]',
    asks: 'cat /shared/file; touch /shared/x 2>&1',
    answers: 'shared content\ntouch: /shared/x: Read-only file system',
  },
  'volumes, long': {
    yaml: `volumes:
  - {type: volume, source: data, target: /data, read_only: true}
  - {type: bind, source: ./shared, target: /shared}
  - {type: tmpfs, target: /memory, tmpfs: {size: 1m}}`,
    asks: 'touch /data/x 2>&1; cat /shared/file; df -k /memory | tail -n 1 | tr -s " " | cut -d" " -f1,2',
    answers: 'touch: /data/x: Read-only file system\nshared content\ntmpfs 1024',
  },
  privileged: {
    yaml: 'privileged: true',
    asks: `mount -t tmpfs none /tmp && echo mounted; test -c ${DEVICE} && echo device`,
    answers: 'mounted\ndevice',
  },
  shm_size: {
    yaml: 'shm_size: 3m',
    asks: 'df -k /dev/shm | tail -n 1 | tr -s " " | cut -d" " -f2',
    answers: '3072',
  },
  tmpfs: {
    yaml: 'tmpfs: ["/run/own:size=2m,mode=700,uid=7,exec", /scratch]',
    asks:
      'df -k /run/own | tail -n 1 | tr -s " " | cut -d" " -f1,2; stat -c %a:%u /run/own; ' +
      'for dir in /run/own /scratch; do echo "echo ran" > $dir/x; chmod 700 $dir/x; $dir/x 2>&1; done; stat -f -c %T /scratch',
    answers: /^tmpfs 2048\n700:7\nran\n.*\/scratch\/x: Permission denied\ntmpfs$/,
  },
  ulimits: {
    yaml: 'ulimits: {nofile: {soft: 77, hard: 88}, core: 0}',
    asks: `${limitOf('Max open files')}; ${limitOf('Max core file size')}`,
    answers: /^77 +88 +files *\n0 +0 +bytes *$/,
  },
  sysctls: {
    yaml: 'sysctls: {net.core.somaxconn: 77, kernel.msgmax: "4096"}',
    asks: 'cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax',
    answers: '77\n4096',
  },
  init: {
    yaml: 'init: true',
    asks: 'cat /proc/1/comm; pidof sleep | wc -w',
    answers: 'skep-init\n1',
  },
  'configs.content': {
    yaml: 'configs: [{source: greeting, target: /etc/greeting, mode: 0440, uid: "5"}]',
    asks: 'cat /etc/greeting; stat -c "%a %u" /etc/greeting',
    answers: 'hello from a file of VALUE\n440 5',
  },
  'secrets.environment': {
    yaml: 'secrets: [word]',
    asks: 'cat /run/secrets/word; echo; stat -f -c %T /run/secrets/word; stat -c %a /run/secrets/word',
    answers: 'said by the environment\ntmpfs\n444',
  },
  'hostname and domainname': {
    yaml: 'hostname: "{{.Service.Name}}-{{.Task.Slot}}"\ndomainname: example.test',
    asks: 'hostname; cat /proc/sys/kernel/domainname',
    answers: /^keys_k\d+-1\nexample\.test$/,
  },
  'user, group_add and working_dir': {
    yaml: 'user: "7:8"\ngroup_add: ["9"]\nworking_dir: /tmp',
    asks: `id -u; id -G; ${statusField('Uid')} | cut -f1; readlink /proc/1/cwd`,
    answers: '7\n8 9\n7\n/tmp',
  },
  read_only: {
    yaml: 'read_only: true\ntmpfs: [/scratch]',
    asks: 'touch /x 2>&1; touch /scratch/x && echo written',
    answers: 'touch: /x: Read-only file system\nwritten',
  },
  extra_hosts: {
    yaml: 'extra_hosts: ["one:192.0.2.1", "two=192.0.2.2"]',
    asks: 'grep -E "one|two" /etc/hosts | tr "\\t" " "',
    answers: '192.0.2.1 one\n192.0.2.2 two',
  },
  'security_opt and userns_mode': {
    yaml: 'security_opt: ["no-new-privileges:true"]\nuserns_mode: host',
    asks: statusField('NoNewPrivs'),
    answers: '1',
  },
  oom_score_adj: { yaml: 'oom_score_adj: 500', asks: 'cat /proc/1/oom_score_adj', answers: '500' },
};

const NAMES = Object.keys(CASES);
const serviceOf = (key: string): string => `k${NAMES.indexOf(key)}`;
const indented = (text: string, by: string): string =>
  text
    .split('\n')
    .map((line) => `${by}${line}\n`)
    .join('');

function stackFile(): string {
  const services = NAMES.map((key) => {
    const { yaml } = CASES[key]!;
    const image = yaml.startsWith('image:') ? '' : `    image: ${IMAGE}\n`;
    return `  ${serviceOf(key)}:\n${image}    stop_grace_period: 1s\n${indented(yaml, '    ')}`;
  });
  const plain = `image: ${IMAGE}, stop_grace_period: 1s`;
  return `services:
${services.join('')}
  named: {${plain}, container_name: box-of-mine, networks: {front: {aliases: [nick]}, back: {}}}
  looks: {${plain}, networks: [front]}
  apart: {${plain}, networks: [back]}
  web: {${plain}, command: [httpd, -f, -p, "80", -h, /www], ports: ["${PUBLISHED}:80"]}
  asked-for: {${plain}, profiles: [wanted]}
  not-asked-for: {${plain}, profiles: [other]}
  slow: {${plain}, command: "/bin/sh -c 'sleep 2; touch /ready; sleep 3600'", healthcheck: {test: test -e /ready, interval: 200ms, retries: 100}}
  middle: {${plain}, depends_on: {slow: {condition: service_healthy}}}
  last: {${plain}, depends_on: [middle]}
  tries: {${plain}, command: [/bin/sh, -c, exit 3], restart: "on-failure:1", deploy: {restart_policy: {delay: 100ms, condition: on-failure, max_attempts: 1}}}
  tries-short: {${plain}, command: [/bin/sh, -c, exit 3], restart: "on-failure:1"}
  once: {${plain}, command: [/bin/sh, -c, exit 0], restart: "no"}
networks: {front: {}, back: {}, chosen: {ipam: {config: [{subnet: 172.16.1.0/24}]}}}
volumes: {data: {}}
configs: {greeting: {content: "hello from a file of \${SOMETHING}\\n"}}
secrets: {word: {environment: WORD}}
`;
}

describe.skipIf(!clusterTestsCanRun)('a key of a stack file', () => {
  let dir: string;
  const shared = useCluster('keys', { managers: 1, workers: 0 }, async (cluster) => {
    const cmd = ['sleep', '3600'];
    const files = { '/www/index.html': 'a page\n' };
    await cluster.image({ name: IMAGE, cmd, files });
    await cluster.image({ name: OTHER_IMAGE, cmd, files: { '/which': 'the other' } });
  });
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    mkdirSync(join(dir, 'shared'));
    writeFileSync(join(dir, 'shared/file'), 'shared content\n');
    writeFileSync(join(dir, 'own.env'), 'EARLIER=1\nLATER=1\n');
    writeFileSync(join(dir, 'stack.yml'), stackFile());
    const argv = ['-c', 'stack.yml', '--resolve-image', 'never', '--detach'];
    const env = { SOMETHING: 'VALUE', WORD: 'said by the environment', COMPOSE_PROFILES: 'wanted' };
    const deploy = ['stack', 'deploy', ...argv, 'keys'];
    succeeded(await shared.current.try(deploy, { cwd: dir, env }));
  }, 60_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** What a shell says in the container of a service, whatever its status. */
  async function said(service: string, script: string): Promise<string> {
    await shared.current.running(`keys_${service}`, 1);
    const argv = ['service', 'exec', `keys_${service}`, '--', '/bin/sh', '-c', script];
    const { stdout, stderr } = await shared.current.try(argv);
    expect(stderr).toBe('');
    return stdout.replace(/\n$/, '');
  }

  test.each(NAMES)('%s', { timeout: 60_000 }, async (key) => {
    const { asks, answers } = CASES[key]!;
    const answer = await said(serviceOf(key), asks);
    if (typeof answers === 'string') expect(answer).toBe(answers);
    else expect(answer).toMatch(answers);
  });

  test('network_mode host: the namespace of the node', { timeout: 60_000 }, async () => {
    const node = await shared.current.dev(
      'run',
      'manager-1',
      '--',
      'readlink',
      '/proc/self/ns/net',
    );
    const service = serviceOf('dns of a container without networks of the cluster');
    expect(await said(service, 'readlink /proc/self/ns/net')).toBe(node.trim());
  });

  test('networks, their aliases and container_name: by name, and to no other network', {
    timeout: 60_000,
  }, async () => {
    await shared.current.running('keys_named', 1);
    // Names that the cluster does not know are asked of the node's servers, which may answer nothing at all.
    const isKnown = async (from: string, name: string): Promise<boolean> =>
      /^Address: 10\./m.test(await said(from, `timeout 5 nslookup -type=a ${name} 2>&1`));
    for (const name of ['named', 'nick', 'box-of-mine']) {
      expect(await isKnown('looks', name), name).toBe(true);
    }
    expect(await isKnown('apart', 'box-of-mine')).toBe(true);
    expect(await isKnown('apart', 'nick')).toBe(false);
    expect(await isKnown('apart', 'looks')).toBe(false);
  });

  test('ports', { timeout: 60_000 }, async () => {
    await shared.current.running('keys_web', 1);
    const { address } = shared.current.hosts[0]!;
    const page = await eventually('the page', () => http(address, PUBLISHED), { withinMs: 10_000 });
    expect(page).toEqual({ status: 200, body: 'a page\n' });
  });

  test('profiles', async () => {
    const names = await shared.current.skep(['stack', 'services', '--format', '{{.Name}}', 'keys']);
    expect(names).toContain('keys_asked-for\n');
    expect(names).not.toContain('keys_not-asked-for');
  });

  test('depends_on, short: after a service that itself waits', { timeout: 60_000 }, async () => {
    const since = async (service: string): Promise<number> => {
      const [row] = await shared.current.running(`keys_${service}`, 1);
      const { Status } = await shared.current.inspectTask(row!);
      return Date.parse((Status as unknown as { Timestamp: string }).Timestamp);
    };
    const slow = await since('slow');
    const middle = await since('middle');
    expect(middle).toBeGreaterThanOrEqual(slow);
    expect(await since('last')).toBeGreaterThanOrEqual(middle - 1);
  });

  test.each([
    ['tries', 'on-failure by deploy.restart_policy', 'Failed', 2],
    ['tries-short', 'restart: on-failure:1', 'Failed', 2],
    ['once', 'restart: no', 'Complete', 1],
  ])('restart of %s: %s', { timeout: 60_000 }, async (service, _, state, count) => {
    const states = await eventually(
      'its last task',
      async () => {
        const tasks = await shared.current.tasks(`keys_${service}`);
        expect(tasks.map(({ current }) => current)).toEqual(Array(count).fill(state));
        return tasks;
      },
      { withinMs: 30_000 },
    );
    expect(states.every(({ desired }) => desired === 'Shutdown')).toBe(true);
  });

  describe('build', () => {
    const deployed = (yaml: string) => {
      const file = `services:\n  made:\n${indented(yaml, '    ')}`;
      writeFileSync(join(dir, 'build.yml'), file);
      const argv = ['-c', 'build.yml', '--resolve-image', 'never', '--detach', 'built'];
      return shared.current.try(['stack', 'deploy', ...argv], { cwd: dir });
    };

    test('alone ends the deployment at its line, and nothing is made', async () => {
      const { code, stdout, stderr } = await deployed('build: .');
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain(
        'build.yml:3:12: services.made.build: images are not built here, and no image is named\n',
      );
      const filter = ['--filter', 'label=com.docker.stack.namespace=built', '-q'];
      for (const kind of ['service', 'network', 'config', 'secret']) {
        expect(await shared.current.skep([kind, 'ls', ...filter]), kind).toBe('');
      }
    });

    test('beside image runs that image, and says at its line that it has no effect', {
      timeout: 90_000,
    }, async () => {
      writeFileSync(join(dir, 'Dockerfile'), `FROM ${IMAGE}\nRUN touch /made-here\n`);
      const { code, stderr } = await deployed(
        `image: ${OTHER_IMAGE}\nstop_grace_period: 1s\nbuild: .`,
      );
      expect([code, stderr]).toEqual([
        0,
        expect.stringContaining(
          'build.yml:5:5: services.made.build has no effect: images are not built here: `image` must name one\n',
        ),
      ]);
      await shared.current.running('built_made', 1);
      const script = 'test -e /made-here && echo made here; cat /which';
      const argv = ['service', 'exec', 'built_made', '--', '/bin/sh', '-c', script];
      expect((await shared.current.try(argv)).stdout).toBe('the other');
      await shared.current.skep(['stack', 'rm', 'built']);
    });
  });

  test('all of it goes', { timeout: 90_000 }, async () => {
    await shared.current.skep(['stack', 'rm', 'keys']);
    const { stdout } = await shared.current.try(['stack', 'ps', '-q', 'keys']);
    expect(stdout).toBe('');
  });
});
