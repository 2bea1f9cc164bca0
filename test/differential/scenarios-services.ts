/** Services: creation, scaling, updates, rollbacks, jobs, failures, where tasks may run. */
import type { Scenario } from './scenario.ts';
import {
  create,
  inState,
  left,
  lookAtFirstTask,
  lookAtService,
  lookAtTasks,
  lookAtTasksByState,
  NEXT_IMAGE,
  remove,
  running,
  SECOND,
  scaled,
  spec,
  update,
  updateIs,
  updateNode,
  waitingBecause,
  withContainer,
} from './steps.ts';

const QUICK = { Parallelism: 1, Monitor: SECOND, FailureAction: 'pause' };
const AT_ONCE = { RestartPolicy: { Condition: 'any', Delay: 0 } };
const NEVER = { RestartPolicy: { Condition: 'none' } };

const LIFE: readonly Scenario[] = [
  {
    name: 'a service with nothing but an image',
    steps: [
      create({ Name: 'bare', TaskTemplate: { ContainerSpec: { Image: 'skep-test/diff:1' } } }),
      lookAtService('bare'),
      remove('bare'),
    ],
  },
  {
    name: 'a service with all its fields',
    steps: [
      create(
        spec(
          'full',
          {
            Labels: { a: 'b', 'com.example/c': '' },
            Mode: { Replicated: { Replicas: 2 } },
            UpdateConfig: {
              Parallelism: 2,
              Delay: SECOND,
              FailureAction: 'rollback',
              Monitor: 2 * SECOND,
              MaxFailureRatio: 0.25,
              Order: 'start-first',
            },
            RollbackConfig: { Parallelism: 0, FailureAction: 'continue', Order: 'stop-first' },
            EndpointSpec: { Mode: 'dnsrr' },
          },
          {
            Labels: { tier: 'front' },
            Hostname: '{{.Service.Name}}-{{.Task.Slot}}',
            Env: ['A=1', 'SLOT={{.Task.Slot}}'],
            Dir: '/tmp',
            User: '0:0',
            ReadOnly: true,
            StopGracePeriod: 3 * SECOND,
            Hosts: ['10.1.2.3 db'],
            DNSConfig: { Nameservers: ['10.1.1.1'], Search: ['example.org'], Options: ['ndots:2'] },
            Mounts: [
              { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o1770 } },
              { Type: 'volume', Source: 'data', Target: '/d', VolumeOptions: { NoCopy: true } },
            ],
            CapabilityAdd: ['CAP_NET_ADMIN'],
            CapabilityDrop: ['CAP_MKNOD'],
            Ulimits: [{ Name: 'nofile', Soft: 1024, Hard: 2048 }],
            Sysctls: { 'net.ipv4.ip_default_ttl': '63' },
          },
          {
            Resources: {
              Limits: { NanoCPUs: 500_000_000, MemoryBytes: 33_554_432, Pids: 50 },
              Reservations: { NanoCPUs: 1_000_000, MemoryBytes: 4_194_304 },
            },
            RestartPolicy: {
              Condition: 'on-failure',
              Delay: SECOND,
              MaxAttempts: 3,
              Window: 9 * SECOND,
            },
            Placement: {
              Constraints: ['node.role == manager'],
              Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
              MaxReplicas: 4,
            },
          },
        ),
      ),
      running('full', 2),
      lookAtService('full'),
      lookAtTasks('full'),
      lookAtFirstTask('full'),
      remove('full'),
    ],
  },
  {
    name: 'up and down',
    steps: [
      create(spec('scale')),
      running('scale', 1),
      update('scale to 3', 'scale', scaled(3)),
      running('scale', 3),
      lookAtTasks('scale', 'three tasks'),
      update('scale to 1', 'scale', scaled(1)),
      running('scale', 1),
      update('scale to 0', 'scale', scaled(0)),
      running('scale', 0),
      lookAtService('scale'),
      remove('scale'),
    ],
  },
];

const UPDATES: readonly Scenario[] = [
  {
    name: 'an update that goes well',
    steps: [
      create(spec('up', { UpdateConfig: QUICK })),
      running('up', 1),
      update('another image', 'up', withContainer({ Image: NEXT_IMAGE })),
      updateIs('up', 'completed'),
      running('up', 1),
      lookAtService('up'),
      lookAtTasks('up'),
      update('the same again', 'up', (same) => same),
      lookAtTasks('up', 'tasks after the same again'),
      remove('up'),
    ],
  },
  {
    name: 'an update that fails and pauses',
    steps: [
      create(spec('pause', { UpdateConfig: QUICK }, {}, NEVER)),
      running('pause', 1),
      update('a command that fails', 'pause', withContainer({ Args: ['false'] })),
      updateIs('pause', 'paused'),
      inState('pause', 'failed'),
      lookAtService('pause'),
      lookAtTasks('pause'),
      remove('pause'),
    ],
  },
  {
    name: 'an update that fails and goes back',
    steps: [
      create(
        spec(
          'back',
          { UpdateConfig: { ...QUICK, FailureAction: 'rollback' }, RollbackConfig: QUICK },
          {},
          AT_ONCE,
        ),
      ),
      running('back', 1),
      update('a command that fails', 'back', withContainer({ Args: ['false'] })),
      updateIs('back', 'rollback_completed'),
      running('back', 1),
      lookAtService('back'),
      update('back without a previous spec', 'back', (same) => same, '&rollback=previous'),
      remove('back'),
    ],
  },
  {
    name: 'back by hand',
    steps: [
      create(spec('hand', { UpdateConfig: QUICK, RollbackConfig: QUICK })),
      running('hand', 1),
      update('back before there is a previous spec', 'hand', (same) => same, '&rollback=previous'),
      update('another variable', 'hand', withContainer({ Env: ['A=2'] })),
      updateIs('hand', 'completed'),
      update('back', 'hand', (same) => same, '&rollback=previous'),
      updateIs('hand', 'rollback_completed'),
      running('hand', 1),
      lookAtService('hand'),
      update('back again', 'hand', (same) => same, '&rollback=previous'),
      updateIs('hand', 'rollback_completed'),
      running('hand', 1),
      lookAtService('hand'),
      remove('hand'),
    ],
  },
];

const FAILURES: readonly Scenario[] = [
  {
    name: 'a task that fails and is not restarted',
    steps: [
      create(spec('once', {}, { Args: ['sh', '-c', 'exit 3'] }, NEVER)),
      inState('once', 'failed'),
      lookAtTasks('once'),
      remove('once'),
    ],
  },
  {
    name: 'a task that fails as often as it may',
    steps: [
      create(
        spec(
          'tries',
          {},
          { Args: ['false'] },
          {
            RestartPolicy: { Condition: 'on-failure', Delay: 0, MaxAttempts: 2 },
          },
        ),
      ),
      left('tries', 'failed', 3),
      lookAtTasks('tries'),
      remove('tries'),
    ],
  },
  {
    name: 'a task that ends well and is not restarted',
    steps: [
      create(spec('well', {}, { Args: ['true'] }, { RestartPolicy: { Condition: 'on-failure' } })),
      inState('well', 'complete'),
      lookAtTasks('well'),
      remove('well'),
    ],
  },
  {
    name: 'a command that is not there',
    steps: [
      create(spec('nocmd', {}, { Args: ['/no/such/command'] }, NEVER)),
      inState('nocmd', 'failed'),
      lookAtTasks('nocmd'),
      remove('nocmd'),
    ],
  },
  {
    name: 'a bind mount of nothing',
    steps: [
      create(
        spec('bind', {}, { Mounts: [{ Type: 'bind', Source: '/no/such', Target: '/b' }] }, NEVER),
      ),
      inState('bind', 'rejected'),
      lookAtTasks('bind'),
      remove('bind'),
    ],
  },
];

const PLACES: readonly Scenario[] = [
  {
    name: 'a constraint that comes and goes',
    steps: [
      create(spec('place', {}, {}, { Placement: { Constraints: ['node.labels.zone == a'] } })),
      waitingBecause('place'),
      lookAtTasks('place', 'while no node has the label'),
      updateNode('give the label', (node) => ({ ...node, Labels: { zone: 'a' } })),
      running('place', 1),
      lookAtTasks('place', 'with the label'),
      updateNode('take the label', (node) => ({ ...node, Labels: {} })),
      waitingBecause('place'),
      lookAtTasks('place', 'without it again'),
      remove('place'),
    ],
  },
  {
    name: 'more than a node has',
    steps: [
      create(spec('cpu', {}, {}, { Resources: { Reservations: { NanoCPUs: 9e12 } } })),
      waitingBecause('cpu'),
      lookAtTasks('cpu'),
      remove('cpu'),
      create(
        spec(
          'gpu',
          {},
          {},
          {
            Resources: {
              Reservations: {
                GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 1 } }],
              },
            },
          },
        ),
      ),
      waitingBecause('gpu'),
      lookAtTasks('gpu'),
      remove('gpu'),
    ],
  },
  {
    name: 'another platform',
    steps: [
      create(
        spec('arm', {}, {}, { Placement: { Platforms: [{ Architecture: 'sparc', OS: 'plan9' }] } }),
      ),
      waitingBecause('arm'),
      lookAtTasks('arm'),
      remove('arm'),
    ],
  },
  {
    name: 'more than one on each node',
    steps: [
      create(
        spec(
          'single',
          { Mode: { Replicated: { Replicas: 2 } } },
          {},
          { Placement: { MaxReplicas: 1 } },
        ),
      ),
      waitingBecause('single'),
      inState('single', 'running'),
      lookAtTasksByState('single'),
      remove('single'),
    ],
  },
  {
    name: 'a global service, and its node drained and paused',
    steps: [
      create(spec('each', { Mode: { Global: {} } })),
      running('each', 1),
      lookAtService('each'),
      updateNode('drain', (node) => ({ ...node, Availability: 'drain' })),
      running('each', 0),
      lookAtTasks('each', 'while it is drained'),
      updateNode('pause', (node) => ({ ...node, Availability: 'pause' })),
      lookAtTasks('each', 'while it is paused'),
      updateNode('activate', (node) => ({ ...node, Availability: 'active' })),
      running('each', 1),
      remove('each'),
    ],
  },
  {
    name: 'a replicated service, and its node drained',
    steps: [
      create(spec('moved')),
      running('moved', 1),
      updateNode('drain', (node) => ({ ...node, Availability: 'drain' })),
      waitingBecause('moved'),
      inState('moved', 'shutdown'),
      lookAtTasks('moved'),
      updateNode('activate', (node) => ({ ...node, Availability: 'active' })),
      running('moved', 1),
      remove('moved'),
    ],
  },
];

const JOBS: readonly Scenario[] = [
  {
    name: 'a replicated job',
    steps: [
      create(
        spec(
          'job',
          { Mode: { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 3 } } },
          {
            Args: ['true'],
          },
        ),
      ),
      inState('job', 'complete', 3),
      lookAtService('job'),
      lookAtTasks('job'),
      update('another run', 'job', withContainer({ Env: ['RUN=2'] })),
      inState('job', 'complete', 6),
      lookAtService('job'),
      remove('job'),
    ],
  },
  {
    name: 'a global job',
    steps: [
      create(spec('gjob', { Mode: { GlobalJob: {} } }, { Args: ['true'] })),
      inState('gjob', 'complete'),
      lookAtService('gjob'),
      lookAtTasks('gjob'),
      remove('gjob'),
    ],
  },
];

export const SERVICE_SCENARIOS: readonly Scenario[] = [
  ...LIFE,
  ...UPDATES,
  ...FAILURES,
  ...PLACES,
  ...JOBS,
];
