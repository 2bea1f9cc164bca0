import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { create } from '../../../../cli/commands/service-create.ts';
import { parsePublish } from '../../../../cli/commands/service-flags.ts';
import { changedPorts, update } from '../../../../cli/commands/service-update.ts';
import { deploy } from '../../../../cli/commands/stack-deploy.ts';
import { runCommand } from '../../../support/cli-command.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

function creating() {
  const sent: { spec?: unknown } = {};
  return {
    sent,
    engine: {
      serviceCreate: async (spec: unknown) => {
        sent.spec = spec;
        return { ID: 'new', Warnings: null };
      },
      network: async (name: string) => ({ Id: `id-${name}` }),
      secrets: async () => [{ ID: 'secret-id', Spec: { Name: 'key' } }],
      distribution: async (name: string) => {
        expect(name).toBe('docker.io/library/web:latest');
        return {
          Descriptor: { digest: DIGEST },
          Platforms: [{ architecture: 'amd64', os: 'linux' }],
        };
      },
    },
  };
}

describe('service create', () => {
  test('attaches to a network with an alias and an address', async () => {
    const { engine, sent } = creating();
    const flag = 'name=back,alias=db,ip=10.9.0.7';
    const argv = ['-d', '--no-resolve-image', '--network', flag, 'web'];
    expect(await runCommand(create, argv, { engine })).toMatchObject({ status: 0, stderr: '' });
    expect(sent.spec).toMatchObject({
      TaskTemplate: {
        Networks: [{ Target: 'id-back', Aliases: ['db'], IPAMConfig: { IPv4Address: '10.9.0.7' } }],
      },
    });
  });

  test('sends what docker sends', async () => {
    const { engine, sent } = creating();
    const argv =
      '-d --name www --replicas 3 -e A=1 -e HERE --env B= -p 8080:80 -p target=5,mode=host --limit-cpu 0.5 --limit-memory 64m --network front --secret source=key,target=k --constraint node.role==worker --update-delay 2s --restart-condition on-failure --health-cmd true --mount source=v1,target=/v -l a=b web run -it'.split(
        ' ',
      );
    const result = await runCommand(create, argv, { engine, env: { HERE: 'value' } });
    expect(result).toEqual({ status: 0, stdout: 'new\n', stderr: '' });
    expect(sent.spec).toEqual({
      Name: 'www',
      Labels: { a: 'b' },
      TaskTemplate: {
        ContainerSpec: {
          Image: `web:latest@${DIGEST}`,
          Labels: {},
          Args: ['run', '-it'],
          Env: ['A=1', 'HERE=value', 'B='],
          Healthcheck: { Test: ['CMD-SHELL', 'true'] },
          Mounts: [{ Type: 'volume', Source: 'v1', Target: '/v' }],
          DNSConfig: {},
          Init: false,
          Secrets: [
            {
              SecretID: 'secret-id',
              SecretName: 'key',
              File: { Name: 'k', UID: '0', GID: '0', Mode: 0o444 },
            },
          ],
        },
        Resources: { Limits: { NanoCPUs: 5e8, MemoryBytes: 64 * 1024 ** 2 }, Reservations: {} },
        RestartPolicy: { Condition: 'on-failure', Delay: 5e9 },
        Placement: {
          Constraints: ['node.role==worker'],
          Platforms: [{ Architecture: 'amd64', OS: 'linux' }],
        },
        Networks: [{ Target: 'id-front' }],
        ForceUpdate: 0,
      },
      Mode: { Replicated: { Replicas: 3 } },
      UpdateConfig: {
        Parallelism: 1,
        Delay: 2e9,
        FailureAction: 'pause',
        Monitor: 5e9,
        MaxFailureRatio: 0,
        Order: 'stop-first',
      },
      EndpointSpec: {
        Mode: 'vip',
        Ports: [
          { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' },
          { Protocol: 'tcp', TargetPort: 5, PublishMode: 'host' },
        ],
      },
    });
  });

  test.each<[string, object]>([
    ['--mode replicated-job', { ReplicatedJob: {} }],
    [
      '--mode replicated-job --replicas 5',
      { ReplicatedJob: { MaxConcurrent: 5, TotalCompletions: 5 } },
    ],
    [
      '--mode replicated-job --replicas 5 --max-concurrent 2',
      { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } },
    ],
    ['--mode replicated-job --max-concurrent 2', { ReplicatedJob: { MaxConcurrent: 2 } }],
    ['--mode global-job', { GlobalJob: {} }],
  ])('%s asks for %o, with the restart policy by default', async (flags, mode) => {
    const { engine, sent } = creating();
    await runCommand(create, ['-d', ...flags.split(' '), 'web'], { engine });
    expect((sent.spec as { Mode: object }).Mode).toEqual(mode);
    expect(sent.spec).not.toHaveProperty('TaskTemplate.RestartPolicy');
  });

  test.each([
    ['--max-concurrent 2', /max-concurrent can only be used with replicated-job mode/],
    ['--mode global-job --replicas 2', /replicas can only be used with replicated/],
    ['--mode global-job --replicas-max-per-node 2', /replicas-max-per-node can only be used/],
    ['--mode global-job --update-delay 1s', /not supported for jobs/],
    ['--mode replicated-job --rollback-delay 1s', /not supported for jobs/],
  ])('%s is refused', async (flags, message) => {
    const { engine, sent } = creating();
    const result = await runCommand(create, ['-d', ...flags.split(' '), 'web'], { engine });
    expect(result.stderr).toMatch(message);
    expect(sent.spec).toBeUndefined();
  });

  test('of an image with a digest the platforms are recorded, and the digest stays', async () => {
    const { engine, sent } = creating();
    const asked: string[] = [];
    let answers = true;
    const distribution = async (name: string) => {
      asked.push(name);
      if (!answers) throw new ApiError(500, 'no answer');
      const Platforms = [{ architecture: 'arm64', os: 'linux' }];
      return { Descriptor: { digest: `sha256:${'f'.repeat(64)}` }, Platforms };
    };
    const argv = ['-d', `web@${DIGEST}`];
    await runCommand(create, argv, { engine: { ...engine, distribution } });
    expect(asked).toEqual([`docker.io/library/web@${DIGEST}`]);
    expect(sent.spec).toMatchObject({
      TaskTemplate: {
        ContainerSpec: { Image: `web@${DIGEST}` },
        Placement: { Platforms: [{ Architecture: 'arm64', OS: 'linux' }] },
      },
    });
    answers = false;
    const result = await runCommand(create, argv, { engine: { ...engine, distribution } });
    expect(result).toMatchObject({ status: 0, stderr: '' });
  });

  test('a registry that does not answer is a warning, and the image stays as it is', async () => {
    const { engine, sent } = creating();
    const distribution = async () => {
      throw new ApiError(500, 'no answer');
    };
    const result = await runCommand(create, ['-d', 'web'], { engine: { ...engine, distribution } });
    expect(result).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/^image web:latest could not be accessed/),
    });
    expect(sent.spec).toMatchObject({ TaskTemplate: { ContainerSpec: { Image: 'web:latest' } } });
  });

  test.each([
    [['--mode', 'global', '--replicas', '2', 'x'], /replicas can only be used/],
    [['--isolation', 'process', 'x'], /Windows feature/],
    [['--secret', 'other', 'x'], /secret not found: other/],
    [['--replicas', 'two', 'x'], /expected a whole number/],
    [['--publish', '1:2:3:4', 'x'], /invalid port/],
    [['--no-healthcheck', '--health-cmd', 'x', 'y'], /conflicts with --health/],
    [['--flies', 'x'], /unknown option '--flies'/],
    [[], /missing required argument 'image'/],
  ])('%j is refused before anything is created', async (argv, why) => {
    const { engine, sent } = creating();
    const result = await runCommand(create, argv, { engine });
    expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(why) });
    expect(sent.spec).toBeUndefined();
  });
});

describe('service update', () => {
  const service = {
    ID: 's',
    Version: { Index: 7 },
    Spec: {
      Name: 'web',
      Labels: { keep: '1', drop: '2' },
      TaskTemplate: {
        ContainerSpec: {
          Image: 'web:1',
          Env: ['A=1', 'B=2'],
          Mounts: [{ Type: 'volume', Source: 'v', Target: '/v' }],
          CapabilityDrop: ['CAP_CHOWN'],
        },
        Placement: { Constraints: ['node.role==worker'] },
        Networks: [{ Target: 'n1', Aliases: ['web'] }],
        ForceUpdate: 2,
      },
      Mode: { Replicated: { Replicas: 2 } },
      EndpointSpec: {
        Mode: 'vip',
        Ports: [{ TargetPort: 80, PublishedPort: 8080, Protocol: 'tcp' }],
      },
    },
  };

  async function updated(argv: string[], mode?: object) {
    const sent: unknown[][] = [];
    const engine = {
      service: async () => (mode ? { ...service, Spec: { ...service.Spec, Mode: mode } } : service),
      serviceUpdate: async (...args: unknown[]) => void sent.push(args),
      network: async (name: string) => ({ Id: name }),
    };
    const result = await runCommand(update, ['-d', ...argv, 'web'], { engine });
    expect(result).toEqual({ status: 0, stdout: 'web\n', stderr: '' });
    return sent[0]!;
  }

  test('changes what flags name and keeps the rest', async () => {
    const [id, version, spec] = await updated(
      '--env-add B=3 --env-rm A --label-rm drop --cap-add chown --mount-rm /v --constraint-add node.labels.z==1 --force --replicas 5 --network-add n2'.split(
        ' ',
      ),
    );
    expect([id, version]).toEqual(['s', 7]);
    expect(spec).toMatchObject({
      Name: 'web',
      Labels: { keep: '1' },
      Mode: { Replicated: { Replicas: 5 } },
      TaskTemplate: {
        ContainerSpec: {
          Image: 'web:1',
          Env: ['B=3'],
          Mounts: [],
          CapabilityAdd: ['CAP_CHOWN'],
          CapabilityDrop: [],
        },
        Placement: { Constraints: ['node.role==worker', 'node.labels.z==1'] },
        Networks: [{ Target: 'n1', Aliases: ['web'] }, { Target: 'n2' }],
        ForceUpdate: 3,
      },
    });
  });

  test('replicas of a job are its completions', async () => {
    const job = { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 3 } };
    const [, , spec] = await updated(['--replicas', '5'], job);
    expect(spec).toMatchObject({
      Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 5 } },
    });
    const [, , faster] = await updated(['--max-concurrent', '2'], job);
    expect(faster).toMatchObject({
      Mode: { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 3 } },
    });
  });

  test.each([
    [{ Global: {} }, '--replicas', /replicas can only be used with replicated or replicated-job/],
    [{ Replicated: {} }, '--max-concurrent', /max-concurrent can only be used with replicated-job/],
  ])('mode %o takes no %s', async (Mode, flag, message) => {
    const engine = { service: async () => ({ ...service, Spec: { ...service.Spec, Mode } }) };
    const result = await runCommand(update, ['-d', flag, '2', 'web'], { engine });
    expect(result.stderr).toMatch(message);
  });

  test('--rollback goes back and takes no other flag', async () => {
    const sent = await updated(['--rollback']);
    expect(sent).toEqual(['s', 7, service.Spec, { rollback: true }]);
    const both = await runCommand(update, ['-d', '--rollback', '--replicas', '2', 'web'], {});
    expect(both.stderr).toMatch(/may not be combined/);
  });

  test('ports are removed by target, added ones replace their like', () => {
    const ports = [
      { TargetPort: 80, PublishedPort: 8080, Protocol: 'tcp' },
      { TargetPort: 53, PublishedPort: 53, Protocol: 'udp' },
    ];
    expect(changedPorts(ports, { publishRm: ['80'], publishAdd: ['53:53/udp'] })).toEqual([
      { TargetPort: 53, PublishedPort: 53, Protocol: 'udp', PublishMode: 'ingress' },
    ]);
    expect(changedPorts(ports, { publishRm: ['53'] })).toEqual(ports);
  });

  test.each([
    ['10.0.0.5:8080:80', '10.0.0.5'],
    ['published=8080,target=80,ip=10.0.0.5', '10.0.0.5'],
    ['[FD00::5]:8080:80', 'fd00::5'],
    ['ip=[::1],published=8080,target=80', '::1'],
    ['0.0.0.0:8080:80', undefined],
  ])('a port %s answers at %s only', (text, address) => {
    const [port] = parsePublish(text);
    expect(port).toMatchObject({ TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' });
    expect(port?.HostIp || undefined).toBe(address);
  });
});

describe('stack deploy', () => {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-stack-'));
    writeFileSync(join(dir, 'key.txt'), 'k');
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  web: {image: web, networks: [front], secrets: [key]}
  db: {image: web, networks: [front, own]}
networks: {front: {}, own: {external: true}}
secrets: {key: {file: key.txt}}
`,
    );
    writeFileSync(join(dir, 'bad.yml'), 'services:\n  web: {imag: x}\n');
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const engine = { info: async () => ({ Swarm: { ControlAvailable: true } }) };

  test.each([
    [
      ['-c', 'bad.yml', 'shop'],
      /bad.yml:2:9: unknown key 'imag' in services.web; did you mean image\?/,
    ],
    [['-c', 'none.yml', 'shop'], /open none.yml: no such file or directory/],
    [['-c', 'stack.yml', '-c', 'bad.yml', 'shop'], /^bad.yml:2:9: unknown key/],
    [['shop'], /Specify a Compose file/],
    [['-c', 'stack.yml', 'no good'], /name must be valid/],
  ])('%j is refused and nothing is asked of the daemon', async (argv, why) => {
    const result = await runCommand(deploy, argv, { cwd: dir });
    expect(result).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(why) });
  });

  test('an external network that does not exist ends it before anything is made', async () => {
    const network = async () => {
      throw new ApiError(404, 'network own not found');
    };
    const result = await runCommand(deploy, ['-c', 'stack.yml', 'shop'], {
      engine: { ...engine, network },
      cwd: dir,
    });
    expect(result.stderr).toMatch(/network "own" is declared as external, but could not be found/);
  });
});
