import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { CancelledError } from '../../../common/base/lifecycle.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Config } from '../../../common/model/secret.ts';
import { MESSAGE_BYTES_MAX } from '../../../common/rpc/limits.ts';
import { encodeObject } from '../../../common/wire/object.ts';
import { encodeDispatcherMessage } from '../../../common/wire/session.ts';
import { AgentSession } from '../../../manager/dispatcher/agent-session.ts';
import { NetworkTables } from '../../../manager/dispatcher/network-tables.ts';
import { FakeAgentStream } from '../../support/agent-stream.ts';
import { ofTasks } from '../../support/assignment-history.ts';
import { checksumOf } from '../../support/assignments.ts';
import {
  aConfig,
  aConfigSpec,
  aContainerSpec,
  aPort,
  aService,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
  NO_PORTS,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('nod');

async function withTasks(count: number): Promise<TestStore> {
  const test = makeStore();
  const status = aTaskStatus({ state: 'assigned' });
  await test.create('task', ...Array.from({ length: count }, () => aTask({ nodeId, status })));
  return test;
}

function sendComplete({ store }: TestStore, session: AgentSession): void {
  store.view((view) => session.sendComplete(view, new NetworkTables(view)));
}

describe('an agent session', () => {
  test.each([
    [0, [0]],
    [1, [1]],
    [100, [100]],
    [101, [100, 1]],
    [150, [100, 50]],
  ])('sends a set of %i in parts of at most 100, only the last marked so', async (count, parts) => {
    const store = await withTasks(count);
    const stream = new FakeAgentStream();
    sendComplete(store, new AgentSession(nodeId, stream));
    const sent = stream.of('assignments');
    expect(sent.map(({ changes }) => changes.length)).toEqual(parts);
    expect(sent.map(({ last }) => last)).toEqual(parts.map((_, i) => i === parts.length - 1));
    for (const message of sent) {
      expect(message).toMatchObject({ complete: true, appliesTo: 0 });
      expect(message.resultsIn).toBe(store.store.revision);
    }
  });

  test('encodes each task once, as it is stored', async () => {
    const store = await withTasks(2);
    const stream = new FakeAgentStream();
    sendComplete(store, new AgentSession(nodeId, stream));
    const changes = stream.of('assignments').flatMap((message) => message.changes);
    expect(changes).toHaveLength(2);
    for (const change of changes) {
      if (change.action !== 'set' || change.kind !== 'task') throw new Error('what else is there?');
      expect(change.encoded).toEqual(encodeObject('task', store.get('task', change.item.id)));
    }
  });

  test('sends a set of 20 MB of configs in parts that fit, each when those before are taken', async () => {
    const test = makeStore();
    const data = new Uint8Array(500_000);
    const configs: Config[] = [];
    for (let i = 0; i < 40; i++) {
      configs.push(...(await test.create('config', aConfig({ spec: aConfigSpec({ data }) }))));
    }
    const uses = configs.map(({ id }) => ({ configId: id, configName: '', file: null }));
    const status = aTaskStatus({ state: 'assigned' });
    const spec = aTaskSpec({ container: aContainerSpec({ configs: uses }) });
    await test.create('task', aTask({ nodeId, status, spec }));
    const stream = new FakeAgentStream();
    stream.slow = true;
    const session = new AgentSession(nodeId, stream);
    sendComplete(test, session);
    expect(session.behind).toBe(true);
    const caughtUp = session.caughtUp();
    for (let parts = 1; parts <= 20; parts++) {
      await settle();
      const sent = stream.of('assignments');
      expect(sent).toHaveLength(parts);
      expect(sent.map(({ last }) => last)).toEqual(sent.map((_, i) => i === 19));
      stream.take();
    }
    expect(await caughtUp).toBe(false);
    expect(session.behind).toBe(false);
    const sent = stream.of('assignments');
    for (const message of sent) {
      expect(encodeDispatcherMessage(message).length).toBeLessThan(MESSAGE_BYTES_MAX / 2);
      expect(message).toMatchObject({ complete: true, appliesTo: 0 });
    }
    const keys = sent.flatMap(({ changes }) => changes.map(({ key }) => key));
    expect(keys.slice(1)).toEqual(configs.map(({ id }) => id));
  });

  test('the last part has the checksum; a step that lacks something is told by it, also an empty one', async () => {
    const test = await withTasks(101);
    const stream = new FakeAgentStream();
    const session = new AgentSession(nodeId, stream);
    const tables = test.store.view((view) => new NetworkTables(view));
    test.store.view((view) => session.sendComplete(view, tables));
    const [first, last] = stream.of('assignments');
    expect([first!.checksum, last!.checksum]).toEqual([
      '',
      checksumOf([...first!.changes, ...last!.changes]),
    ]);
    const port = aPort({ publishedPort: 80 });
    const endpoint = { spec: NO_PORTS, ports: [port], virtualIps: [] };
    const watch = test.store.watch();
    await test.create('service', aService({ endpoint }));
    const changes = watch.poll().flatMap((commit) => commit.changes);
    test.store.view((view) => {
      tables.apply(view, changes);
      const lost = { byNetwork: new Map(), ports: [] };
      expect(session.sendStep(view, tables, [], lost)).toBe(true);
      expect(session.sendStep(view, tables, [], lost)).toBe(false);
    });
    const step = stream.of('assignments').at(-1)!;
    expect(step.changes).toEqual([]);
    expect(step.checksum).toBe(
      checksumOf([...first!.changes, ...last!.changes, ...tables.ports()]),
    );
  });

  test('each step applies to the one before, and an empty one is not sent', async () => {
    const { store, ...test } = await withTasks(1);
    const stream = new FakeAgentStream();
    const session = new AgentSession(nodeId, stream);
    const tables = store.view((view) => new NetworkTables(view));
    const watch = store.watch();
    const step = (): void => {
      const changes = watch.poll().flatMap((commit) => commit.changes);
      store.view((view) => {
        session.sendStep(view, tables, ofTasks(changes), tables.apply(view, changes));
      });
    };
    store.view((view) => session.sendComplete(view, tables));
    const first = store.revision;
    await test.create('task', aTask({ status: aTaskStatus({ state: 'assigned' }) }));
    step();
    expect(stream.sent).toHaveLength(1);
    await test.create('task', aTask({ nodeId, status: aTaskStatus({ state: 'assigned' }) }));
    step();
    expect(stream.of('assignments').at(-1)).toMatchObject({
      complete: false,
      appliesTo: first,
      resultsIn: first + 2,
    });
  });

  test('is cut off when its stream takes no more, and sends nothing after', async () => {
    const store = await withTasks(150);
    const stream = new FakeAgentStream();
    const reason = new SkepError('resource-exhausted', 'slow');
    stream.full = { from: 1, reason };
    const session = new AgentSession(nodeId, stream);
    sendComplete(store, session);
    expect(stream.sent).toHaveLength(1);
    await expect(session.receive()).rejects.toBe(reason);
    stream.full = null;
    session.send({ kind: 'heartbeat-heard', storedSequence: 1 });
    expect(stream.sent).toHaveLength(1);
  });

  test('what an agent had said when the session ended is not heard', async () => {
    const stream = new FakeAgentStream();
    stream.fail = () => {}; // a transport delivers first what had arrived
    const session = new AgentSession(nodeId, stream);
    stream.say({ kind: 'heartbeat' });
    const reason = new Error('replaced');
    session.end(reason);
    await expect(session.receive()).rejects.toBe(reason);
  });

  test('its end reaches a reader that waits; the first reason counts', async () => {
    const session = new AgentSession(nodeId, new FakeAgentStream());
    const waiting = session.receive();
    session.end(null);
    session.end(new Error('later'));
    await expect(waiting).rejects.toBeInstanceOf(CancelledError);
  });
});
