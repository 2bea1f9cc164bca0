/** Secrets, configs, networks, the node, the cluster; and what each of them refuses. */
import type { Scenario, Step } from './scenario.ts';
import {
  base64,
  call,
  create,
  hasEndpoint,
  look,
  remove,
  request,
  SECOND,
  type Service,
  scaled,
  spec,
  update,
  updateNode,
} from './steps.ts';

type Json = Readonly<Record<string, unknown>>;

const filtered = (path: string, filters: Json): string =>
  `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`;

/** A body that is refused, by what is wrong with it. */
const refused = (what: string, body: Json): Step => create({ Name: 'refused', ...body }, what);

function withTask(task: Json): Json {
  return { TaskTemplate: { ContainerSpec: { Image: 'x' }, ...task } };
}

function withContainer(container: Json): Json {
  return { TaskTemplate: { ContainerSpec: { Image: 'x', ...container } } };
}

function withPorts(mode: string, ...ports: readonly Json[]): Json {
  return { ...withTask({}), EndpointSpec: { Mode: mode, Ports: ports } };
}

const REFUSED_SERVICES: Scenario = {
  name: 'services that are refused',
  steps: [
    refused('no image', { TaskTemplate: { ContainerSpec: {} } }),
    refused('an image that is none', withContainer({ Image: 'UPPER CASE' })),
    create({ ...withTask({}), Name: 'a.b' }, 'a dot in the name'),
    create({ ...withTask({}), Name: 'имя' }, 'a name in Cyrillic'),
    create({ ...withTask({}), Name: 'n'.repeat(64) }, 'a long name'),
    refused('a mount twice', {
      ...withContainer({
        Mounts: [
          { Type: 'tmpfs', Target: '/a' },
          { Type: 'tmpfs', Target: '/a' },
        ],
      }),
    }),
    refused('too little memory', withTask({ Resources: { Limits: { MemoryBytes: 1024 } } })),
    refused('too little CPU', withTask({ Resources: { Limits: { NanoCPUs: 1000 } } })),
    refused('a negative delay', withTask({ RestartPolicy: { Condition: 'any', Delay: -1 } })),
    refused('a negative window', withTask({ RestartPolicy: { Condition: 'any', Window: -1 } })),
    refused('a constraint without an operator', withTask({ Placement: { Constraints: ['a'] } })),
    refused('a constraint with a bad key', withTask({ Placement: { Constraints: ['?==a'] } })),
    refused('a constraint with a bad value', withTask({ Placement: { Constraints: ['a==,'] } })),
    refused('a network that is not there', withTask({ Networks: [{ Target: 'nowhere' }] })),
    refused('two modes', { ...withTask({}), Mode: { Global: {}, Replicated: { Replicas: 1 } } }),
    refused('a negative monitor', { ...withTask({}), UpdateConfig: { Monitor: -SECOND } }),
    refused('a ratio over 1', { ...withTask({}), UpdateConfig: { MaxFailureRatio: 2 } }),
    refused('a job with an update', {
      ...withTask({}),
      Mode: { GlobalJob: {} },
      UpdateConfig: { Parallelism: 1 },
    }),
    refused('a port twice', {
      ...withPorts(
        'vip',
        { TargetPort: 80, PublishedPort: 8080 },
        { TargetPort: 81, PublishedPort: 8080 },
      ),
    }),
    refused('an ingress port by names', withPorts('dnsrr', { TargetPort: 80, PublishedPort: 81 })),
    refused(
      'a secret that is not there',
      withContainer({
        Secrets: [
          {
            SecretID: 'x',
            SecretName: 'nobody',
            File: { Name: 'f', UID: '0', GID: '0', Mode: 292 },
          },
        ],
      }),
    ),
    request('look at a service that is not there', 'GET', '/services/nobody'),
    request('remove a service that is not there', 'DELETE', '/services/nobody'),
    request('look at a task that is not there', 'GET', '/tasks/nobody'),
    request('an unknown filter', 'GET', filtered('/services', { colour: ['red'] })),
  ],
};

const REFUSED_CHANGES: Scenario = {
  name: 'changes that are refused',
  steps: [
    create(spec('kept', { Mode: { Replicated: { Replicas: 0 } } })),
    create(spec('kept'), 'a name that is taken'),
    create(spec('KEPT'), 'the same name in capitals'),
    update('another name', 'kept', (it) => ({ ...it, Name: 'other' })),
    update('another mode', 'kept', (it) => ({ ...it, Mode: { Global: {} } })),
    call('a version that is old', async (engine) => {
      const { ID, Version, Spec } = await engine.get<Service>('/services/kept');
      const path = `/services/${ID}/update?version=`;
      await engine.call('POST', path + Version.Index, scaled(0)(Spec));
      return engine.call('POST', path + Version.Index, scaled(1)(Spec));
    }),
    request('no version', 'POST', '/services/kept/update', spec('kept')),
    create(
      spec('first', {
        Mode: { Replicated: { Replicas: 0 } },
        EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8099 }] },
      }),
    ),
    create(
      spec('second', { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8099 }] } }),
      'a port that is taken',
    ),
    remove('first'),
    remove('kept'),
  ],
};

function files(kind: 'secrets' | 'configs', bytesMax: number): Scenario {
  const one = kind.slice(0, -1);
  const made = { Name: 'file', Labels: { a: 'b' }, Data: base64('data') };
  const reference = (id: string): Json => {
    const word = one === 'secret' ? 'Secret' : 'Config';
    const file = { Name: 'f', UID: '0', GID: '0', Mode: 292 };
    return { [`${word}s`]: [{ [`${word}ID`]: id, [`${word}Name`]: 'file', File: file }] };
  };
  const change = (what: string, spec: Json): Step =>
    call(what, async (engine) => {
      const { ID, Version } = await engine.get<Service>(`/${kind}/file`);
      return engine.call('POST', `/${kind}/${ID}/update?version=${Version.Index}`, spec);
    });
  return {
    name: kind,
    steps: [
      request('create', 'POST', `/${kind}/create`, made),
      request('create it again', 'POST', `/${kind}/create`, made),
      request('no data', 'POST', `/${kind}/create`, { Name: 'empty' }),
      request('a name that is none', 'POST', `/${kind}/create`, { ...made, Name: '-a' }),
      request('too much data', 'POST', `/${kind}/create`, {
        Name: 'big',
        Data: base64('x'.repeat(bytesMax)),
      }),
      change('other labels', { ...made, Labels: { c: 'd' } }),
      change('other data', { ...made, Data: base64('other') }),
      look(`/${kind}/file`, 'look'),
      look(filtered(`/${kind}`, { name: ['fi'] }), 'by the start of its name'),
      look(filtered(`/${kind}`, { label: ['c=d'] }), 'by label'),
      look(filtered(`/${kind}`, { label: ['a'] }), 'by a label that it has no more'),
      call('create a user', async (engine) => {
        const { ID } = await engine.get<Service>(`/${kind}/file`);
        const mode = { Mode: { Replicated: { Replicas: 0 } } };
        const { status } = await engine.call(
          'POST',
          '/services/create',
          spec('user', mode, reference(ID)),
        );
        return { status };
      }),
      request('remove it while it is used', 'DELETE', `/${kind}/file`),
      remove('user'),
      request('remove it', 'DELETE', `/${kind}/file`),
      request('remove it again', 'DELETE', `/${kind}/file`),
    ],
  };
}

const NETWORKS: Scenario = {
  name: 'networks',
  steps: [
    request('create', 'POST', '/networks/create', {
      Name: 'over',
      Driver: 'overlay',
      Attachable: true,
      Labels: { a: 'b' },
      IPAM: { Config: [{ Subnet: '10.66.0.0/24', Gateway: '10.66.0.1' }] },
    }),
    request('create it again', 'POST', '/networks/create', { Name: 'over', Driver: 'overlay' }),
    request('attachable ingress', 'POST', '/networks/create', {
      Name: 'both',
      Driver: 'overlay',
      Ingress: true,
      Attachable: true,
    }),
    request('a second ingress', 'POST', '/networks/create', {
      Name: 'second',
      Driver: 'overlay',
      Ingress: true,
    }),
    request('a gateway outside', 'POST', '/networks/create', {
      Name: 'outside',
      Driver: 'overlay',
      IPAM: { Config: [{ Subnet: '10.67.0.0/24', Gateway: '10.1.1.1' }] },
    }),
    request('a name that every node has', 'POST', '/networks/create', {
      Name: 'host',
      Driver: 'overlay',
    }),
    look('/networks/over?scope=swarm', 'look'),
    look(filtered('/networks', { label: ['a=b'], driver: ['overlay'] }), 'by label'),
    create(
      spec(
        'attached',
        { Mode: { Replicated: { Replicas: 0 } }, EndpointSpec: { Mode: 'dnsrr' } },
        {},
        { Networks: [{ Target: 'over', Aliases: ['db'] }] },
      ),
    ),
    hasEndpoint('attached'),
    look('/services/attached', 'the service in it'),
    request('remove it while it is used', 'DELETE', '/networks/over'),
    remove('attached'),
    request('remove it', 'DELETE', '/networks/over'),
    request('remove it again', 'DELETE', '/networks/over'),
  ],
};

const NODE: Scenario = {
  name: 'the node',
  steps: [
    updateNode('a role that is none', (node) => ({ ...node, Role: 'boss' })),
    updateNode('an availability that is none', (node) => ({ ...node, Availability: 'later' })),
    updateNode('demote the last manager', (node) => ({ ...node, Role: 'worker' })),
    updateNode('labels', (node) => ({ ...node, Labels: { zone: 'a', Empty: '' } })),
    call('its spec', async (engine) => {
      const [node] = await engine.get<readonly { readonly Spec: Json }[]>('/nodes');
      return node!.Spec;
    }),
    call('remove it', async (engine) => {
      const [node] = await engine.get<readonly { readonly ID: string }[]>('/nodes');
      return engine.call('DELETE', `/nodes/${node!.ID}?force=1`);
    }),
    request('look at one that is not there', 'GET', '/nodes/nobody'),
    request('a role that is none, as a filter', 'GET', filtered('/nodes', { role: ['boss'] })),
    updateNode('no labels', (node) => ({ ...node, Labels: {} })),
  ],
};

interface Swarm {
  readonly Version: { readonly Index: number };
  readonly Spec: Json;
}

function updateSwarm(what: string, change: (spec: Json) => Json, behind = 0): Step {
  return call(what, async (engine) => {
    const { Version, Spec } = await engine.get<Swarm>('/swarm');
    return engine.call('POST', `/swarm/update?version=${Version.Index - behind}`, change(Spec));
  });
}

const SWARM: Scenario = {
  name: 'the cluster',
  steps: [
    call('its settings', async (engine) => (await engine.get<Swarm>('/swarm')).Spec),
    updateSwarm('a shorter history', (spec) => ({
      ...spec,
      Orchestration: { TaskHistoryRetentionLimit: 2 },
    })),
    call('its settings then', async (engine) => {
      const { Spec } = await engine.get<Swarm>('/swarm');
      return Spec['Orchestration'];
    }),
    updateSwarm('another name', (spec) => ({ ...spec, Name: 'other' })),
    updateSwarm('certificates of a minute', (spec) => ({
      ...spec,
      CAConfig: { NodeCertExpiry: 60 * SECOND },
    })),
    updateSwarm('a version that is old', (spec) => spec, 1),
    request('init', 'POST', '/swarm/init', { ListenAddr: '0.0.0.0:2377' }),
    request('leave', 'POST', '/swarm/leave'),
    request('unlock', 'POST', '/swarm/unlock', { UnlockKey: 'SWMKEY-1-x' }),
    updateSwarm('the history as it was', (spec) => ({
      ...spec,
      Orchestration: { TaskHistoryRetentionLimit: 5 },
    })),
  ],
};

export const OBJECT_SCENARIOS: readonly Scenario[] = [
  REFUSED_SERVICES,
  REFUSED_CHANGES,
  files('secrets', 512_000),
  files('configs', 1_024_000),
  NETWORKS,
  NODE,
  SWARM,
];
