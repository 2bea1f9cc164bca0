import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Node } from '../../../common/model/node.ts';
import { StreamDuplex } from '../../../common/rpc/stream-duplex.ts';
import { CLUSTER_CONTAINER_FILTERS } from '../../../daemon/engineapi/container-filters.ts';
import {
  mergedRows,
  placesOf,
  type RemoteListOptions,
  rowsElsewhere,
} from '../../../daemon/engineapi/container-lists.ts';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { EngineServer } from '../../../daemon/engineapi/server.ts';
import { aNode, aNodeDescription } from '../../support/builders.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { streamPair } from '../../support/rpc-stream-pair.ts';

const { signal } = new AbortController();
const SELF = 'self-id';
const node = (id: string, hostname: string, state: Node['status']['state'] = 'ready') =>
  aNode({
    id: id as NodeId,
    description: aNodeDescription({ hostname, address: `${id}:2377` }),
    status: { state, message: '', address: '' },
  });
const NODES = [node(SELF, 'me'), node('n1', 'one'), node('n2', 'two'), node('n3', 'dead', 'down')];
const remote = (id: string, hostname: string) => ({
  nodeId: id as NodeId,
  hostname,
  address: `${id}:2377`,
});
const [ONE, TWO] = [remote('n1', 'one'), remote('n2', 'two')];

let engine: EngineServer;
let asked: string[];
let answer: (context: RequestContext) => void;
let options: RemoteListOptions;
let clock: FakeClock;
/** that the server has while nobody asks */
let idleTimers: number;
let connections: StreamDuplex[];
beforeEach(() => {
  clock = new FakeClock();
  asked = [];
  connections = [];
  answer = (context) => context.send(200, [{ Created: 5 }]);
  engine = new EngineServer({ log: silentLogger, clock, headers: () => ({}) });
  engine.add('GET', '/containers/json', (context) => {
    asked.push(decodeURIComponent(context.request.url ?? ''));
    answer(context);
  });
  idleTimers = clock.pending;
  const getNode = async (ref: string) => {
    const found = NODES.find(({ id, description }) => [id, description?.hostname].includes(ref));
    if (found) return found;
    throw new SkepError('not-found', `node ${ref} not found`);
  };
  const containers = {
    holders: (start: string) => (start === 'c0ffee' ? [ONE] : []),
    connect: async () => {
      const [here, there] = streamPair(64 * 1024);
      engine.accept(new StreamDuplex(there));
      const connection = new StreamDuplex(here);
      connections.push(connection);
      return connection;
    },
  };
  options = {
    swarm: {
      manager: { containers },
      requireManager: () => ({ control: { getNode, listNodes: async () => NODES } }),
      state: () => ({ nodeId: SELF }),
    } as unknown as RemoteListOptions['swarm'],
    clock,
  };
});
afterEach(() => engine.stop());

const filters = (given: object) => Filters.parse(JSON.stringify(given), CLUSTER_CONTAINER_FILTERS);
const context = (query = '') =>
  ({ apiMinor: 50, query: new URLSearchParams(query), signal }) as unknown as RequestContext;

describe('the nodes that a list of containers asks', () => {
  test.each([
    [{}, true, []],
    [{ name: ['web'] }, true, []],
    [{ id: ['c0ffee', 'f00'] }, true, [ONE]],
    [{ node: ['one'] }, false, [ONE]],
    [{ node: ['one', 'n1', 'two'] }, false, [ONE, TWO]],
    [{ node: ['self'] }, true, []],
    [{ node: ['me', 'one'] }, true, [ONE]],
    [{ node: ['*'] }, true, [ONE, TWO]],
    [{ node: ['two'], id: ['c0ffee'] }, false, [TWO]],
  ])('with %j', async (given, isHere, others) => {
    expect(await placesOf(filters(given), options, signal)).toEqual({ isHere, others });
  });

  test('are in the cluster', async () => {
    await expect(placesOf(filters({ node: ['x'] }), options, signal)).rejects.toThrow(
      'node x not found',
    );
  });
});

describe('the rows of other nodes', () => {
  test('are those of tasks that the other filters mean, in the version that was asked for', async () => {
    const given = filters({ node: ['*'], name: ['web'] });
    const rows = await rowsElsewhere(context('all=1&filters=x'), given, [ONE, TWO], options);
    expect(rows).toEqual([{ Created: 5 }, { Created: 5 }]);
    const target = '/v1.50/containers/json?all=1&filters={"name":["web"],"is-task":["true"]}';
    expect(asked).toEqual([target, target]);
    const none = filters({ node: ['*'], 'is-task': ['false'] });
    expect(await rowsElsewhere(context(), none, [ONE], options)).toEqual([]);
    expect(asked).toHaveLength(2);
  });

  test('are refused as the node refuses them', async () => {
    answer = () => {
      throw new SkepError('not-found', 'No such container: x');
    };
    await expect(
      rowsElsewhere(context(), filters({ since: ['x'] }), [ONE], options),
    ).rejects.toMatchObject({ code: 'not-found', message: 'No such container: x' });
  });

  test('are not left out when a node breaks off', async () => {
    answer = (request) => void request.response.destroy();
    await expect(rowsElsewhere(context(), filters({}), [ONE], options)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the connection to node one broke',
    });
  });

  test('are asked for no further, and waited for no longer, once a node refuses', async () => {
    const nodes = Array.from({ length: 40 }, (_, i) => remote(`n${i}`, `host${i}`));
    let refuse = () => {};
    answer = (request) => {
      refuse = () => request.send(404, { message: 'refused' });
    };
    const rows = rowsElsewhere(context(), filters({}), nodes, options);
    const refused = expect(rows).rejects.toMatchObject({ message: 'refused' });
    const atOnce = clock.pending - idleTimers;
    await expect.poll(() => asked.length, { interval: 1 }).toBe(atOnce);
    expect(atOnce).toBeLessThan(nodes.length);
    refuse();
    await refused;
    await expect.poll(() => connections.every(({ destroyed }) => destroyed)).toBe(true);
    await expect.poll(() => clock.pending).toBe(idleTimers);
    expect([asked.length, connections.length]).toEqual([atOnce, atOnce]);
  });

  test('stand among our own by age', () => {
    const rows = (...times: number[]) => times.map((Created) => ({ Created }));
    expect(mergedRows(rows(9, 3), rows(7, 1), 0)).toEqual(rows(9, 7, 3, 1));
    expect(mergedRows(rows(9, 3), rows(7, 1), 2)).toEqual(rows(9, 7));
  });
});
