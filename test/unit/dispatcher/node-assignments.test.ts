import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssignmentChange } from '../../../common/model/assignment.ts';
import { AssignmentLedger } from '../../../common/model/assignment-checksum.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import { NetworkTables, type TableChanges } from '../../../manager/dispatcher/network-tables.ts';
import { NodeAssignments } from '../../../manager/dispatcher/node-assignments.ts';
import type { WriteTx } from '../../../manager/store/types.ts';
import {
  applyTo,
  histories,
  type ItemSet,
  networkIds,
  nodeIds,
  ofTasks,
  perform,
  setScene,
} from '../../support/assignment-history.ts';
import {
  aConfig,
  aContainerSpec,
  aNode,
  aSecret,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('nod0');
const file = { name: 'f', uid: '0', gid: '0', mode: 0o444 };

/** The set of one node, step by step. */
async function followed(test: TestStore, of = nodeId) {
  const watch = test.store.watch();
  const tables = test.store.view((view) => new NetworkTables(view));
  const assignments = new NodeAssignments(of);
  const first = test.store.view((view) => assignments.complete(view, tables));
  const ledger = new AssignmentLedger();
  const count = (changes: readonly AssignmentChange[]): void => {
    for (const change of changes) ledger.apply(change);
    expect(ledger.checksum).toBe(assignments.checksum(tables));
  };
  count(first);
  const write = async (change: (tx: WriteTx) => void): Promise<AssignmentChange[]> => {
    await test.store.update(change);
    const changes = watch.poll().flatMap((commit) => commit.changes);
    const step = test.store.view((view) =>
      assignments.step(view, tables, ofTasks(changes), tables.apply(view, changes)),
    );
    count(step);
    return step;
  };
  return { first, write };
}

function wholeSet(test: TestStore, of: NodeId): ItemSet {
  return test.store.view((view) =>
    applyTo(new Map(), new NodeAssignments(of).complete(view, new NetworkTables(view))),
  );
}

async function scene(): Promise<TestStore> {
  const test = makeStore();
  await setScene(test);
  await test.create('node', aNode({ id: nodeId }));
  return test;
}

const said = (changes: readonly AssignmentChange[]): string[] =>
  changes.map(({ action, kind, key }) => `${action} ${kind} ${key.replace(/0+(?=\/|$)/g, '')}`);

describe('a node assignment set', () => {
  test('is put together of tables of any length', () => {
    const entry: AssignmentChange = { action: 'remove', kind: 'task', key: 't' };
    const many = Array.from({ length: 200_000 }, () => entry);
    const tables = {
      ingressId: networkIds[0]!,
      items: () => many,
      peers: () => many,
      ports: () => many,
    } as unknown as NetworkTables;
    const { store } = makeStore();
    const assignments = new NodeAssignments(nodeId);
    const whole = store.view((view) => assignments.complete(view, tables));
    expect(whole).toHaveLength(3 * many.length);
    // Nothing of the node itself changed: what did is handed on as it comes, and not looked for.
    const byNetwork = [[networkIds[0]!, { items: many, peers: new Map() }]];
    const changed = { byNetwork, ports: many } as unknown as TableChanges;
    const step = store.view((view) => assignments.step(view, tables, [], changed));
    expect(step).toHaveLength(2 * many.length);
  });

  test('steps applied to the previous set give the complete set of that revision', async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        const test = makeStore();
        await setScene(test);
        const watch = test.store.watch();
        const tables = test.store.view((view) => new NetworkTables(view));
        const nodes = nodeIds.map((id) => {
          const assignments = new NodeAssignments(id);
          const complete = test.store.view((view) => assignments.complete(view, tables));
          const ledger = new AssignmentLedger();
          for (const change of complete) ledger.apply(change);
          expect(assignments.checksum(tables)).toBe(ledger.checksum);
          return { id, assignments, ledger, held: applyTo(new Map(), complete) };
        });
        for (const batch of history) {
          for (const ops of batch) {
            await test.store.update((tx) => {
              for (const op of ops) perform(tx, op);
            });
          }
          const changes = watch.poll().flatMap((commit) => commit.changes);
          test.store.view((view) => {
            const tableChanges = tables.apply(view, changes);
            for (const { assignments, ledger, held } of nodes) {
              const step = assignments.step(view, tables, ofTasks(changes), tableChanges);
              applyTo(held, step);
              for (const change of step) ledger.apply(change);
              // So that the agent, which has nothing but what it was told, comes to the same number.
              expect(assignments.checksum(tables)).toBe(ledger.checksum);
            }
          });
          for (const { id, held } of nodes) expect(held).toEqual(wholeSet(test, id));
        }
      }),
      { numRuns: 150 },
    );
  });

  test('every node has the ingress network, also when it is made later', async () => {
    const test = await scene();
    const ingress = networkIds.at(-1)!;
    const { first, write } = await followed(test);
    expect(said(first)).toEqual(['set network net2']);
    const network = test.get('network', ingress);
    expect(said(await write((tx) => tx.remove('network', ingress)))).toContain(
      'remove network net2',
    );
    expect(said(await write((tx) => tx.create('network', network)))).toEqual(['set network net2']);
  });

  test('of the other seats in a network a node is told while it has a task there', async () => {
    const test = await scene();
    const ingress = networkIds.at(-1)!;
    const attachments = (host: number) => [{ networkId: ingress, address: `10.0.0.${host}/24` }];
    const { write } = await followed(test);
    const own = await write((tx) =>
      tx.update('node', { ...tx.require('node', nodeId), attachments: attachments(2) }),
    );
    expect(said(own)).toEqual(['set peer net2/nod']);
    const far = aNode({ id: nodeIds[1]!, attachments: attachments(3) });
    expect(await write((tx) => tx.create('node', far))).toEqual([]);
    const task = aTask({
      id: idOf('t'),
      nodeId,
      status: aTaskStatus({ state: 'running' }),
      networks: [{ networkId: ingress, addresses: ['10.0.0.9/24'], aliases: [] }],
    });
    expect(said(await write((tx) => tx.create('task', task)))).toEqual([
      'set task t',
      'set endpoint net2/t',
      'set peer net2/nod',
      'set peer net2/nod1',
    ]);
    const farther = aNode({ id: nodeIds[2]!, attachments: attachments(4) });
    expect(said(await write((tx) => tx.create('node', farther)))).toEqual(['set peer net2/nod2']);
    expect(said(await write((tx) => tx.remove('task', task.id)))).toEqual([
      'remove task t',
      'remove endpoint net2/t',
      'remove peer net2/nod1',
      'remove peer net2/nod2',
    ]);
  });

  test('secrets and configs come with their first user and go with the last', async () => {
    const test = await scene();
    const [secret] = await test.create('secret', aSecret({ id: idOf('s') }));
    const [config] = await test.create('config', aConfig({ id: idOf('c') }));
    const container = aContainerSpec({
      secrets: [{ secretId: secret!.id, secretName: 's', file }],
      configs: [{ configId: config!.id, configName: 'c', file }],
    });
    const user = (label: string) =>
      aTask({
        id: idOf(label),
        nodeId,
        status: aTaskStatus({ state: 'assigned' }),
        spec: aTaskSpec({ container }),
      });
    const { write } = await followed(test);
    const added = await write((tx) => tx.create('task', user('t1')));
    expect(said(added)).toEqual(['set task t1', 'set secret s', 'set config c']);
    expect(added[1]).toMatchObject({ item: { name: secret!.spec.name, data: secret!.spec.data } });
    expect(said(await write((tx) => tx.create('task', user('t2'))))).toEqual(['set task t2']);
    expect(said(await write((tx) => tx.remove('task', idOf('t1'))))).toEqual(['remove task t1']);
    // The last user ended: its files are no longer needed here, its record still is.
    const ended = { ...user('t2'), status: aTaskStatus({ state: 'complete' }) };
    expect(said(await write((tx) => tx.update('task', ended)))).toEqual([
      'remove secret s',
      'remove config c',
    ]);
    expect(said(await write((tx) => tx.remove('task', idOf('t2'))))).toEqual(['remove task t2']);
  });

  test('a secret that is gone while a task of before needs it is not counted', async () => {
    const test = await scene();
    const [secret] = await test.create('secret', aSecret({ id: idOf('s') }));
    const secrets = [{ secretId: secret!.id, secretName: 's', file }];
    const spec = aTaskSpec({ container: aContainerSpec({ secrets }) });
    const status = aTaskStatus({ state: 'running' });
    await test.create('task', aTask({ id: idOf('t'), nodeId, spec, status }));
    await test.store.update((tx) => tx.remove('secret', secret!.id));
    const { first, write } = await followed(test);
    expect(said(first)).toEqual(['set task t', 'set network net2']);
    expect(said(await write((tx) => tx.remove('task', idOf('t'))))).toEqual([
      'remove task t',
      'remove secret s',
    ]);
  });

  test('a network comes with everything in it and goes with everything in it', async () => {
    const test = await scene();
    const networks = [{ networkId: networkIds[0]!, addresses: ['10.0.1.5/24'], aliases: [] }];
    const status = aTaskStatus({ state: 'running' });
    await test.create('node', aNode({ id: nodeIds[1]! }));
    await test.create('task', aTask({ id: idOf('far'), nodeId: nodeIds[1]!, status, networks }));
    const { write } = await followed(test);
    const near = aTask({ id: idOf('near'), nodeId, status, networks });
    expect(said(await write((tx) => tx.create('task', near)))).toEqual([
      'set task near',
      'set network net',
      'set endpoint net/far',
      'set endpoint net/near',
    ]);
    const left = said(await write((tx) => tx.remove('task', near.id)));
    expect(new Set(left)).toEqual(
      new Set([
        'remove task near',
        'remove network net',
        'remove endpoint net/far',
        'remove endpoint net/near',
      ]),
    );
  });

  test('a task belongs to its node from its assignment on', async () => {
    const test = await scene();
    const { write } = await followed(test);
    const task = aTask({ id: idOf('t'), nodeId, status: aTaskStatus({ state: 'pending' }) });
    expect(await write((tx) => tx.create('task', task))).toEqual([]);
    const assigned = { ...task, status: aTaskStatus({ state: 'assigned' }) };
    expect(said(await write((tx) => tx.update('task', assigned)))).toEqual(['set task t']);
  });

  test('a task that was assigned and rejected in one step is sent as rejected, without its files', async () => {
    const test = await scene();
    const [secret] = await test.create('secret', aSecret({ id: idOf('s') }));
    const secrets = [{ secretId: secret!.id, secretName: 's', file }];
    const spec = aTaskSpec({ container: aContainerSpec({ secrets }) });
    const watch = test.store.watch();
    const tables = test.store.view((view) => new NetworkTables(view));
    const assignments = new NodeAssignments(nodeId);
    test.store.view((view) => assignments.complete(view, tables));
    const assigned = aTask({ nodeId, spec, status: aTaskStatus({ state: 'assigned' }) });
    await test.create('task', assigned);
    // By the constraint enforcer: the node no longer fits.
    const rejected = { ...assigned, status: aTaskStatus({ state: 'rejected' }) };
    await test.store.update((tx) => tx.update('task', rejected));
    const changes = ofTasks(watch.poll().flatMap((commit) => commit.changes));
    const step = test.store.view((view) =>
      assignments.step(view, tables, changes, tables.apply(view, changes)),
    );
    expect(step).toMatchObject([
      { action: 'set', kind: 'task', item: { status: { state: 'rejected' } } },
    ]);
  });

  test("the agent's own words do not come back to it; a new wish does", async () => {
    const test = await scene();
    const { write } = await followed(test);
    const task = aTask({ id: idOf('t'), nodeId, status: aTaskStatus({ state: 'assigned' }) });
    await write((tx) => tx.create('task', task));
    const running = { ...task, status: aTaskStatus({ state: 'running', message: 'started' }) };
    expect(await write((tx) => tx.update('task', running))).toEqual([]);
    const unwanted = { ...running, desiredState: 'shutdown' } as const;
    expect(await write((tx) => tx.update('task', unwanted))).toMatchObject([
      { action: 'set', kind: 'task', item: { desiredState: 'shutdown' } },
    ]);
  });
});
