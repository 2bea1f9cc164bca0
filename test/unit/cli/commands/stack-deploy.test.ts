import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { deploy } from '../../../../cli/commands/stack-deploy.ts';
import { diff } from '../../../../cli/commands/stack-plan.ts';
import type { StackPlanJson } from '../../../../common/model/engine-json/stack.ts';
import { parseRegistryAuth } from '../../../../common/model/registry-auth.ts';
import type { Task } from '../../../../common/model/task.ts';
import type { CommandResult } from '../../../support/cli-command.ts';
import { StackWorld } from '../../../support/stack-world.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let cwd: string;
let world: StackWorld;
beforeEach(async () => {
  cwd = await makeFolder();
  world = await StackWorld.start();
});
afterEach(() => world.stop());

const FILE = `services:
  web:
    image: web:1
    secrets: [key]
    deploy: {replicas: 2}
  db:
    image: db:1
secrets:
  key: {file: key.txt}
`;

function write(text: string, key = 'one'): void {
  writeFileSync(join(cwd, 'stack.yml'), text);
  writeFileSync(join(cwd, 'key.txt'), key);
}

const argv = (...more: string[]) => [
  '-c',
  'stack.yml',
  '--resolve-image',
  'never',
  ...more,
  'shop',
];
const up = (...more: string[]): Promise<CommandResult> => world.run(deploy, argv(...more), { cwd });
const plan = (...more: string[]): Promise<CommandResult> => world.run(diff, argv(...more), { cwd });
const serviceOf = (task: Task): string => task.serviceAnnotations.name;

describe('stack deploy', () => {
  test('makes everything, waits until it runs, and says so service by service', async () => {
    write(FILE);
    const { status, stdout, stderr } = await up();
    expect([status, stderr]).toEqual([0, '']);
    // How far tasks are at the first look is theirs.
    expect(stdout.split('\n').filter((line) => !/: 0\/\d \d /.test(line))).toEqual([
      'Creating network shop_default',
      'Creating secret shop_key',
      'Creating service shop_db',
      'Creating service shop_web',
      'shop_db: 1/1 running, watched',
      'shop_web: 2/2 running, watched',
      'shop_db: 1/1 running, converged',
      'shop_web: 2/2 running, converged',
      '',
    ]);
  });

  test('does nothing for a file that has not changed, and does not wait either', async () => {
    write(FILE);
    await up();
    world.writes.length = 0;
    const beforeMs = world.rooms.test.clock.wallMs();
    const { status, stdout } = await up();
    expect([status, stdout]).toEqual([
      0,
      'Nothing to do: stack shop is as it is to be\n' +
        'shop_db: 1/1 running, converged\nshop_web: 2/2 running, converged\n',
    ]);
    expect(world.writes).toEqual([]);
    expect(world.rooms.test.clock.wallMs()).toBe(beforeMs);
  });

  test('replaces only the tasks of what changed', async () => {
    write(FILE);
    await up();
    const tasks = (name: string) => world.rooms.running(world.service(name).id).map(({ id }) => id);
    const [db, web] = [tasks('shop_db'), tasks('shop_web')];
    write(FILE, 'two');
    expect((await up()).status).toBe(0);
    expect(tasks('shop_db')).toEqual(db);
    expect(tasks('shop_web').filter((id) => web.includes(id))).toEqual([]);
    const [use] = world.service('shop_web').spec.task.container.secrets;
    expect(use).toMatchObject({ secretName: 'shop_key.2', file: { name: 'key' } });
  });

  test('with --detach leaves when everything is asked for', async () => {
    write(FILE);
    const { status, stdout } = await up('--detach');
    expect(status).toBe(0);
    expect(stdout).toMatch(/Creating service shop_web\n$/);
  });

  test('asks a registry once for each image, and pins what it says', async () => {
    const asked: string[] = [];
    const platform = (architecture: string) => ({ architecture, os: 'linux' });
    world.registry = (image) => {
      asked.push(image);
      return {
        Descriptor: { digest: `sha256:${'1'.repeat(64)}` },
        Platforms: [platform('amd64'), platform('arm64')],
      };
    };
    write('services: {a: {image: web}, b: {image: web}, c: {image: web, platform: linux/arm64}}\n');
    const always = ['-c', 'stack.yml', '--detach', 'shop'];
    await world.run(deploy, always, { cwd });
    expect(asked).toEqual(['docker.io/library/web:latest']);
    const task = (name: string) => world.service(name).spec.task;
    expect(task('shop_a').container.image).toBe(`web:latest@sha256:${'1'.repeat(64)}`);
    expect(task('shop_a').placement.platforms).toHaveLength(2);
    expect(task('shop_c').placement.platforms).toEqual([{ architecture: 'arm64', os: 'linux' }]);
    // What is pinned stays so when no registry is to be asked.
    expect((await up('--detach')).stdout).toBe('Nothing to do: stack shop is as it is to be\n');
  });

  test('keeps the platforms of a digest when its registry is down', async () => {
    const digest = `sha256:${'1'.repeat(64)}`;
    const Platforms = [{ architecture: 'amd64', os: 'linux' }];
    world.registry = () => ({ Descriptor: { digest }, Platforms });
    write(`services: {a: {image: "web@${digest}"}}\n`);
    const always = ['-c', 'stack.yml', '--detach', 'shop'];
    await world.run(deploy, always, { cwd });
    expect(world.service('shop_a').spec.task.placement.platforms).toHaveLength(1);
    world.registry = () => ({ Descriptor: { digest }, Platforms: [] });
    const { stdout } = await world.run(deploy, always, { cwd });
    expect(stdout).toBe('Nothing to do: stack shop is as it is to be\n');
  });

  test('gives each service the credentials of its own registry', async () => {
    const registries = { auths: { 'r:5000': { auth: 'YWxpY2U6c2VjcmV0' } } };
    writeFileSync(join(cwd, 'config.json'), JSON.stringify(registries));
    world.registry = () => ({ Descriptor: { digest: `sha256:${'1'.repeat(64)}` } });
    write('services: {a: {image: "r:5000/web:1"}, b: {image: "other:5000/web:1"}}\n');
    const argv = ['--with-registry-auth', '-c', 'stack.yml', '--detach', 'shop'];
    const env = { DOCKER_CONFIG: cwd };
    expect((await world.run(deploy, argv, { cwd, env })).status).toBe(0);
    const given = world.registryAuths.map(([path, auth]) => [
      path.split('/')[1],
      parseRegistryAuth(auth)?.username ?? null,
    ]);
    // As docker: an empty object says that the service is to have no credentials.
    expect(given.filter(([, user]) => user === null)).toHaveLength(2);
    expect(given.filter(([, user]) => user === 'alice').map(([what]) => what)).toEqual([
      'distribution',
      'services',
    ]);
  });

  test('removes what the file no longer has only when it is told to', async () => {
    write(FILE);
    await up();
    write(FILE.replace('db:', 'data:'));
    await up('--detach');
    expect(world.names('service')).toEqual(['shop_data', 'shop_db', 'shop_web']);
    expect((await up('--detach', '--prune')).stdout).toBe('Removing service shop_db\n');
    expect(world.names('service')).toEqual(['shop_data', 'shop_web']);
  });

  test('plans again when somebody else changes a service in between', async () => {
    write(FILE);
    await up();
    write(FILE.replace('replicas: 2', 'replicas: 3'));
    let changes = 0;
    world.beforeCall = async (method, path) => {
      if (method !== 'GET' || path !== '/services' || changes++ !== 1) return;
      const { id } = world.service('shop_web');
      await world.rooms.change(id, (spec) => ({ ...spec, labels: { ...spec.labels, by: 'hand' } }));
    };
    expect((await up('--detach')).status).toBe(0);
    const { spec } = world.service('shop_web');
    expect([spec.mode, spec.labels['by']]).toEqual([
      { kind: 'replicated', replicas: 3 },
      undefined,
    ]);
  });
});

describe('a deployment that somebody else overtakes', () => {
  /** Once, right before the call. */
  const overtake = (call: string, work: () => Promise<unknown>): void => {
    world.beforeCall = async (method, path) => {
      if (!`${method} ${path}`.startsWith(call)) return;
      world.beforeCall = async () => {};
      await work();
    };
  };

  test.each(['networks', 'secrets', 'services'])(
    'goes on with the %s that are there by now',
    async (kind) => {
      write(FILE);
      overtake(`POST /${kind}/create`, () => up('--detach'));
      expect(await up('--detach')).toMatchObject({ status: 0, stderr: '' });
      expect(world.names('service')).toEqual(['shop_db', 'shop_web']);
      expect(world.names('secret')).toEqual(['shop_key']);
    },
  );

  test('goes on without the service that is gone already', async () => {
    write(FILE);
    await up('--detach');
    write('services: {web: {image: web:2}}\n');
    overtake('DELETE /services/', () => world.call('DELETE', '/services/shop_db', {}));
    expect(await up('--detach', '--prune')).toMatchObject({ status: 0, stderr: '' });
    expect(world.names('service')).toEqual(['shop_web']);
    expect(world.service('shop_web').spec.task.container.image).toBe('web:2');
  });

  test('ends with what the daemon says when planning again does not help', async () => {
    write(FILE);
    let calls = 0;
    world.beforeCall = async (method, path) => {
      if (method !== 'POST' || path !== '/networks/create') return;
      calls++;
      throw new ApiError(409, 'no');
    };
    const { status, stderr } = await up('--detach');
    expect([status, stderr, calls]).toEqual([1, 'Error response from daemon: no\n', 5]);
  });

  test('takes nothing back that is not in the plan that was agreed to', async () => {
    write(FILE);
    await up();
    write(FILE.replace('replicas: 2', 'replicas: 3'));
    const { Hash } = JSON.parse((await up('--plan', '-o', 'json')).stdout) as { Hash: string };
    overtake('POST /services/', () =>
      world.rooms.change(world.service('shop_web').id, (spec) => ({
        ...spec,
        labels: { ...spec.labels, by: 'hand' },
      })),
    );
    const { status, stderr } = await up('--detach', '--plan-hash', Hash);
    expect([status, stderr]).toEqual([
      1,
      `the plan ${Hash} no longer holds: the cluster has changed\n`,
    ]);
    const { spec } = world.service('shop_web');
    expect([spec.mode, spec.labels['by']]).toEqual([{ kind: 'replicated', replicas: 2 }, 'hand']);
  });

  test('a newer change of the very field that the plan changes is not taken back', async () => {
    write(FILE);
    await up();
    write(FILE.replace('replicas: 2', 'replicas: 3'));
    const { Hash } = JSON.parse((await up('--plan', '-o', 'json')).stdout) as { Hash: string };
    overtake('POST /services/', () =>
      world.rooms.change(world.service('shop_web').id, (spec) => ({
        ...spec,
        mode: { kind: 'replicated', replicas: 9 },
      })),
    );
    const { status, stderr } = await up('--detach', '--plan-hash', Hash);
    expect([status, stderr]).toEqual([
      1,
      `the plan ${Hash} no longer holds: the cluster has changed\n`,
    ]);
    expect(world.service('shop_web').spec.mode).toEqual({ kind: 'replicated', replicas: 9 });
  });
});

describe('what a stack needs from outside', () => {
  test('is told with its place, all at once, before anything is made', async () => {
    writeFileSync(
      join(cwd, 'stack.yml'),
      `services:
  web: {image: w, networks: [front], secrets: [key, own], configs: [site]}
networks:
  front: {external: true}
  unused: {external: true}
secrets:
  key: {external: true}
  own: {environment: HOME}
  unused: {external: true}
configs:
  site:
    external: true
    name: live
`,
    );
    const { status, stdout, stderr } = await world.run(deploy, argv(), { cwd, env: { HOME: '/' } });
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr.match(/^stack.*/gm)).toEqual([
      'stack.yml:5:3: networks.unused has no effect: no service uses it: it is not made',
      'stack.yml:4:21: network "front" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed',
      'stack.yml:7:19: secret not found: key; it is declared as external and must exist before (skep secret create)',
      'stack.yml:13:11: config not found: live; it is declared as external and must exist before (skep config create)',
    ]);
    expect(world.names('network')).toEqual([]);
  });
});

describe('how a deployment ends', () => {
  const fails = (name: string) => (task: Task) => (serviceOf(task) === name ? 'failed' : 'running');

  test('with 2 when it was rolled back, with what the failed tasks said', async () => {
    write(FILE);
    await up();
    world.rooms.outcome = (task) => (task.spec.container.image === 'web:2' ? 'failed' : 'running');
    world.logOf = () => 'starting\nno database\n';
    write(
      FILE.replace('web:1', 'web:2').replace(
        'replicas: 2',
        'replicas: 2, update_config: {failure_action: rollback}',
      ),
    );
    const { status, stderr } = await up();
    expect(status).toBe(2);
    expect(stderr).toMatch(/^shop_web: rolled back to what it was\nshop_web\.\d \(\w+\) failed: /);
    expect(stderr).toContain('\n  | starting\n  | no database\n');
    expect(world.service('shop_web').spec.task.container.image).toBe('web:1');
  });

  test('with 1 when an update is paused, or what failed may not restart', async () => {
    write(FILE);
    await up();
    world.rooms.outcome = fails('shop_web');
    write(FILE.replace('web:1', 'web:2'));
    const { status, stderr } = await up();
    expect(status).toBe(1);
    expect(stderr).toMatch(/^shop_web: update paused due to failure or early termination of task /);
    world.rooms.outcome = fails('other_once');
    const once = 'services: {once: {image: o, restart: "no"}, slow: {image: s}}\n';
    writeFileSync(join(cwd, 'once.yml'), once);
    const argv = ['-c', 'once.yml', '--resolve-image', 'never', 'other'];
    expect(await world.run(deploy, argv, { cwd })).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^other_once: /),
    });
  });

  test('a task that its node rejected has no lines of a log', async () => {
    write(FILE);
    world.rooms.outcome = (task) => (serviceOf(task) === 'shop_web' ? 'rejected' : 'running');
    world.logOf = () => 'warning: incomplete log stream: no such container\n';
    const { status, stderr } = await up('--timeout', '30s');
    expect(status).toBe(3);
    expect(stderr).toMatch(/\nshop_web\.\d \(\w+\) rejected: /);
    expect(stderr).not.toContain('  | ');
  });

  test('with 3 when time is over', async () => {
    write(FILE);
    world.rooms.outcome = (task) => (task.slot === 2 ? 'failed' : 'running');
    const { status, stdout, stderr } = await up('--timeout', '30s');
    expect(status).toBe(3);
    expect(stdout).toContain('shop_web: 1/2 ');
    expect(stderr).toMatch(/^Stack shop: timed out\nshop_web: /);
  });

  test('with 4 when no node takes a task', async () => {
    write(FILE.replace('replicas: 2', 'replicas: 2, placement: {constraints: [node.labels.x==y]}'));
    const { status, stderr } = await up();
    expect(status).toBe(4);
    expect(stderr).toMatch(
      /^shop_web: 2 pending: no suitable node \(.*\n {2}what each node says to that: skep service explain shop_web\n$/,
    );
  });

  test('a service that has done its work is up', async () => {
    write('services: {once: {image: o, restart: "no"}, web: {image: w}}\n');
    world.rooms.outcome = (task) => (serviceOf(task) === 'shop_once' ? 'complete' : 'running');
    const { status, stdout } = await up();
    expect(status).toBe(0);
    expect(stdout).toContain('shop_once: 1/1 complete, converged');
  });

  test('a global service is up without the node that was drained', async () => {
    write('services: {every: {image: e, deploy: {mode: global}}}\n');
    await up();
    const [node] = world.rooms.nodes();
    await world.rooms.setNode(node!.id, (n) => ({
      ...n,
      spec: { ...n.spec, availability: 'drain' },
    }));
    await world.rooms.rest();
    expect((await up()).stdout).toContain('shop_every: 2/2 running, converged');
  });

  test('a global service is not up while its update has nodes before it', async () => {
    const text = (image: string) =>
      `services: {every: {image: "${image}", deploy: {mode: global, update_config: {delay: 20s}}}}\n`;
    write(text('e:1'));
    await up();
    write(text('e:2'));
    expect((await up()).status).toBe(0);
    const running = world.rooms.running(world.service('shop_every').id);
    expect(running.map(({ spec }) => spec.container.image)).toEqual(['e:2', 'e:2', 'e:2']);
  });

  test('a global service that waits with its update for one that failed is not one that no node takes', async () => {
    const text = (image: string) => `services:
  every: {image: "${image}", deploy: {mode: global}, depends_on: [db]}
  db: {image: "${image}"}
`;
    write(text('e:1'));
    await up();
    write(text('e:2'));
    world.rooms.outcome = fails('shop_db');
    const { status, stdout } = await up();
    expect(status).toBe(1);
    expect(stdout).toContain('shop_every: 0/1 waits for shop_db to start\n');
  });

  const DEPENDENT = (image: string, more = ''): string => `services:
  web: {image: "${image}", depends_on: [db, cache]}
  db: {image: "${image}"${more}}
  cache: {image: "cache:1"}
`;

  test('an update that waits for one that failed ends with it, and says which', async () => {
    write(DEPENDENT('e:1'));
    await up();
    write(DEPENDENT('e:2'));
    world.rooms.outcome = fails('shop_db');
    const { status, stdout } = await up();
    expect(status).toBe(1);
    expect(stdout).toContain('shop_web: 0/1 waits for shop_db to start\n');
  });

  test('an update that waits for one that no node takes ends with 4', async () => {
    write(DEPENDENT('e:1'));
    await up();
    write(DEPENDENT('e:2', ', deploy: {placement: {constraints: [node.labels.x==y]}}'));
    expect((await up()).status).toBe(4);
  });

  test.each(['global', 'global-job'])('with 4 when no node takes a %s', async (mode) => {
    write(
      `services: {every: {image: e, deploy: {mode: ${mode}, placement: {constraints: [node.labels.x==y]}}}}\n`,
    );
    const { status, stderr } = await up();
    expect(status).toBe(4);
    expect(stderr).toMatch(
      /^shop_every: no node has taken a task of it\n {2}what .* shop_every\n$/,
    );
  });

  test('what waits for a service that failed for good does not come', async () => {
    write(`services:
  web: {image: w, depends_on: {once: {condition: service_completed_successfully}}}
  once: {image: o, restart: "no"}
`);
    world.rooms.outcome = fails('shop_once');
    const { status, stdout } = await up();
    expect(status).toBe(1);
    expect(stdout).toContain('shop_web: 0/1 waits for shop_once to complete\n');
  });

  test('what waits for a service that no node takes says so', async () => {
    write(`services:
  web: {image: w, depends_on: {db: {condition: service_healthy}}}
  db: {image: d, deploy: {mode: global, placement: {constraints: [node.labels.disk == ssd]}}}
`);
    const { stdout } = await up('--timeout', '5s');
    expect(stdout).toContain(
      'shop_web: 0/1 waits for shop_db to be healthy (no node takes a task of it)\n',
    );
  });
});

describe('stack diff and deploy --plan', () => {
  type Counts = Readonly<Record<string, Record<string, number>>>;

  /** Tasks by service and node, as the plan says. */
  async function landing(...argv: string[]): Promise<Counts> {
    const { stdout } = await plan('-o', 'json', ...argv);
    const { Changes } = JSON.parse(stdout) as StackPlanJson;
    const told = Changes.filter(({ Landing }) => Landing !== null);
    return Object.fromEntries(
      told.map(({ Name, Landing }) => [
        Name,
        Object.fromEntries(Landing!.Nodes.map(({ NodeID, Tasks }) => [NodeID, Tasks])),
      ]),
    );
  }

  /** The same, as it is. */
  function seats(...names: string[]): Counts {
    const countsOf = (name: string): Record<string, number> => {
      const counts: Record<string, number> = {};
      for (const { nodeId } of world.rooms.running(world.service(name).id)) {
        counts[nodeId!] = (counts[nodeId!] ?? 0) + 1;
      }
      return counts;
    };
    return Object.fromEntries(names.map((name) => [name, countsOf(name)]));
  }

  test('say what would change and change nothing', async () => {
    write(FILE);
    await up();
    world.writes.length = 0;
    write(
      FILE.replace('db:1', 'db:2').replace('replicas: 2', 'replicas: 3').replace('web:', 'front:'),
    );
    const { status, stdout } = await plan('--prune');
    expect(status).toBe(0);
    expect(
      stdout
        .replace(/[0-9a-f]{32}/, 'HASH')
        .replace(/would land on \S+ \(\d\)(, \S+ \(\d\))*/g, 'LAND'),
    ).toBe(`Stack shop: 1 to create, 1 to update with other tasks, 1 to remove, 2 unchanged
  - service  shop_web    remove
  ! service  shop_db     replace 1 task, forced by image
             LAND
  + service  shop_front  create
             LAND
Plan HASH
`);
    expect((await up('--plan', '--prune')).stdout).toBe(stdout);
    expect(world.writes).toEqual([]);
  });

  test('tasks land where the plan said', async () => {
    const text = FILE.replace('replicas: 2', 'replicas: 4');
    write(text);
    const landings = await landing('--prune');
    await up();
    expect(landings).toEqual(seats('shop_web', 'shop_db'));
    write(text.replace('db:1', 'db:2').replace('replicas: 4', 'replicas: 5'));
    const before = seats('shop_web', 'shop_db');
    const next = await landing();
    await up();
    const now = seats('shop_web', 'shop_db');
    expect(next['shop_db']).toEqual(now['shop_db']);
    const [added] = Object.keys(next['shop_web']!);
    const more = (before['shop_web']![added!] ?? 0) + 1;
    expect(now['shop_web']).toEqual({ ...before['shop_web'], [added!]: more });
  });

  test('what no node would take is told with the reason', async () => {
    write(
      'services: {web: {image: w, deploy: {replicas: 2, placement: {constraints: [node.id==x]}}}}\n',
    );
    const { stdout } = await plan();
    expect(stdout).toContain('no place now for 2 tasks: no suitable node (scheduling constraints');
  });

  test('a global service lands on each node that will have it', async () => {
    write('services: {every: {image: e, deploy: {mode: global}}}\n');
    const said = await landing();
    await up();
    expect(said).toEqual(seats('shop_every'));
    expect(Object.keys(said['shop_every']!)).toHaveLength(3);
  });

  test('an unchanged file has an empty plan', async () => {
    write(FILE);
    await up();
    const { status, stdout } = await plan('--exit-code');
    expect([status, stdout.split('\n')[0]]).toEqual([0, 'Stack shop: 4 unchanged']);
    write(FILE.replace('db:1', 'db:2'));
    expect((await plan('--exit-code')).status).toBe(1);
  });

  test('print JSON', async () => {
    write(FILE);
    const { stdout } = await up('--plan', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      Name: 'shop',
      Hash: expect.stringMatching(/^[0-9a-f]{32}$/),
      Changes: expect.arrayContaining([
        expect.objectContaining({ Kind: 'service', Name: 'shop_web', Action: 'create', ID: '' }),
      ]),
    });
  });

  test('a plan is applied by its hash, once and only as it was', async () => {
    write(FILE);
    const hash = async (): Promise<string> =>
      (JSON.parse((await up('--plan', '-o', 'json')).stdout) as { Hash: string }).Hash;
    const first = await hash();
    expect((await up('--plan-hash', first)).status).toBe(0);
    write(FILE.replace('db:1', 'db:2'));
    const second = await hash();
    await world.rooms.change(world.service('shop_web').id, (spec) => ({
      ...spec,
      mode: { kind: 'replicated', replicas: 9 },
    }));
    const { status, stderr } = await up('--plan-hash', second);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^the plan [0-9a-f]{32} no longer holds: the stack file or the cluster/);
    expect(world.service('shop_db').spec.task.container.image).toBe('db:1');
  });
});

/** What stands on a terminal after `text`: lines that are drawn over, nothing else. */
function screenOf(text: string): string[] {
  const lines: string[] = [];
  let at = 0;
  for (const piece of text.split(/(\x1b\[\d*[AJK]|\n)/)) {
    const up = /^\x1b\[(\d+)A$/.exec(piece);
    if (up) at -= Number(up[1]);
    else if (piece === '\x1b[J') lines.length = at;
    else if (piece === '\x1b[2K') lines[at] = '';
    else if (piece === '\n') at++;
    else if (piece !== '') lines[at] = piece;
  }
  return lines;
}

describe('on a terminal', () => {
  test('one tree of all services is drawn over, what is not up yet above', async () => {
    write(FILE);
    const terminal = { columns: 200, rows: 50 };
    const { stdout } = await world.run(deploy, argv(), { cwd, terminal, env: { NO_COLOR: '1' } });
    expect(screenOf(stdout).slice(-3)).toEqual([
      'Stack shop: 2 of 2 services are up',
      '├─ shop_db   1/1 running, converged',
      '└─ shop_web  2/2 running, converged',
    ]);
    expect(screenOf(stdout)).toHaveLength(7);
    const moments = stdout.split('\x1b[J').map((moment) => moment.replaceAll('\x1b[2K', ''));
    expect(moments.some((moment) => moment.includes('0 of 2 services are up'))).toBe(true);
  });

  test('what is up is green, and what changes is yellow in a plan', async () => {
    write(FILE);
    const terminal = { columns: 200, rows: 50 };
    const { stdout } = await world.run(deploy, argv(), { cwd, terminal });
    expect(stdout).toContain('\x1b[32m└─ shop_web  2/2 running, converged\x1b[39m\n');
    write(FILE.replace('db:1', 'db:2'));
    const plan = await world.run(deploy, argv('--plan'), { cwd, terminal });
    expect(plan.stdout).toMatch(/^\x1b\[33m {2}! service {2}shop_db .*\x1b\[39m$/m);
    expect((await world.run(deploy, argv('--plan'), { cwd })).stdout).not.toContain('\x1b');
  });

  test('a small one shows as much as it has room for', async () => {
    const names = Array.from({ length: 12 }, (_, at) => `service-${at + 10}`);
    write(`services:\n${names.map((name) => `  ${name}: {image: web}\n`).join('')}`);
    const terminal = { columns: 30, rows: 8 };
    const { stdout } = await world.run(deploy, argv(), { cwd, terminal, env: { NO_COLOR: '1' } });
    const screen = screenOf(stdout).slice(-7);
    expect(screen[0]).toBe('Stack shop: 12 of 12 services');
    expect(screen[6]).toBe('   and 7 more');
    for (const line of screen) expect(line.length).toBeLessThan(30);
  });
});
