// What a plan says of tasks is what the orchestrator then does, whatever changes.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ServiceId, TaskId } from '../../../common/model/ids.ts';
import {
  ANYWHERE,
  DEFAULT_UPDATE_CONFIG,
  type PortConfig,
  type ServiceSpec,
} from '../../../common/model/service.ts';
import { NAMESPACE_LABEL, type WantedStack } from '../../../common/model/stack.ts';
import { isTerminal } from '../../../common/model/task-state.ts';
import { aContainerSpec, aPort, aServiceSpec, aTaskSpec } from '../../support/builders.ts';
import { makeControlApi } from '../../support/control-api.ts';
import { ControlRooms } from '../../support/control-rooms.ts';
import { applyStack } from '../../support/stack-applier.ts';

interface Words {
  readonly image: string;
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly constraints: readonly string[];
  readonly ports: readonly PortConfig[];
  readonly replicas: number;
  readonly auth: string | null;
  readonly maxReplicas: number;
  readonly parallelism: number;
}

const ON_HOST: readonly PortConfig[] = [aPort({ publishedPort: 8080, publishMode: 'host' })];

const specOf = (words: Words): ServiceSpec =>
  aServiceSpec({
    name: 'shop_web',
    labels: { [NAMESPACE_LABEL]: 'shop', ...words.labels },
    task: aTaskSpec({
      container: aContainerSpec({
        image: words.image,
        env: words.env,
        registryAuth: words.auth,
      }),
      placement: {
        ...ANYWHERE,
        constraints: words.constraints,
        maxReplicas: words.maxReplicas,
      },
    }),
    mode: { kind: 'replicated', replicas: words.replicas },
    update: { ...DEFAULT_UPDATE_CONFIG, parallelism: words.parallelism },
    endpoint: { mode: 'vip', ports: words.ports },
  });

const specs = fc
  .record<Words>({
    image: fc.constantFrom('web:1', 'web:2'),
    env: fc.constantFrom<readonly string[]>([], ['A=1']),
    labels: fc.constantFrom({}, { tier: 'front' }),
    constraints: fc.constantFrom<readonly string[]>(
      [],
      ['node.role==worker'],
      ['node.labels.x==y'],
    ),
    ports: fc.constantFrom([], ON_HOST),
    replicas: fc.integer({ min: 0, max: 3 }),
    auth: fc.constantFrom(null, 'e30='),
    maxReplicas: fc.constantFrom(0, 3),
    parallelism: fc.constantFrom(0, 2),
  })
  .map(specOf);

/** Two of three tasks wait for the one node that they may be on, and are what an update begins with. */
const CROWDED: Words = {
  image: 'web:1',
  env: [],
  labels: {},
  constraints: ['node.labels.x==y'],
  ports: ON_HOST,
  replicas: 3,
  auth: null,
  maxReplicas: 0,
  parallelism: 2,
};

const stackOf = (spec: ServiceSpec): WantedStack => ({
  name: 'shop',
  networks: [],
  secrets: [],
  configs: [],
  services: [spec],
  prune: false,
});

/** Also those that wait for a node. */
const wanted = (rooms: ControlRooms, id: ServiceId): TaskId[] =>
  rooms
    .tasks(id)
    .filter(({ desiredState, status }) => {
      return (desiredState === 'ready' || desiredState === 'running') && !isTerminal(status.state);
    })
    .map((task) => task.id);

test('tasks are replaced as planned', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(specs, specs, async (before, after) => {
      const rooms = await ControlRooms.start(3);
      try {
        const { api } = await makeControlApi(rooms.test);
        // Half of the nodes have the label, so that a constraint can go either way.
        const [node] = rooms.nodes();
        await rooms.setNode(node!.id, (n) => ({ ...n, spec: { ...n.spec, labels: { x: 'y' } } }));
        await applyStack(api, stackOf(before));
        await rooms.rest();
        const { id } = await api.getService('shop_web');
        // Tasks of a service that is scaled down go, whatever else is planned.
        const replicas = (spec: ServiceSpec) =>
          spec.mode.kind === 'replicated' ? spec.mode.replicas : 0;
        const kept = { ...after, mode: before.mode };
        const old = wanted(rooms, id);
        const [change] = (await api.planStack(stackOf(kept))).changes;
        await applyStack(api, stackOf(kept));
        await rooms.pass(30_000, 1000);
        const now = new Set(wanted(rooms, id));
        const gone = old.filter((task) => !now.has(task)).length;
        // Old tasks whose successors have no room stay until there is some.
        const hasNoRoom = rooms
          .tasks(id)
          .some(
            ({ desiredState, status }) => desiredState === 'ready' && status.state === 'pending',
          );
        if (hasNoRoom) expect(gone).toBeLessThanOrEqual(change!.replacedTasks);
        else expect(gone).toBe(change!.replacedTasks);
        expect(change!.action === 'replace').toBe(change!.replacedTasks > 0);
        if (gone > 0) expect(change!.forcedBy).not.toEqual([]);
        // And with the replicas: the rest of the change is done in place.
        await applyStack(api, stackOf(after));
        await rooms.pass(30_000, 1000);
        const [rest] = (await api.planStack(stackOf(after))).changes;
        expect(rest!.action).toBe('none');
        expect(replicas(after)).toBeGreaterThanOrEqual(rooms.running(id).length);
      } finally {
        await rooms.stop();
      }
    }),
    { numRuns: 40, examples: [[specOf(CROWDED), specOf({ ...CROWDED, image: 'web:2' })]] },
  );
});
