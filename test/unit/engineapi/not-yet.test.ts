import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { addNotYetRoutes, NOT_YET } from '../../../daemon/engineapi/not-yet.ts';
import { addRoutes } from '../../../daemon/engineapi/routes.ts';
import { EngineServer, type Routes } from '../../../daemon/engineapi/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';

type AllParts = Parameters<typeof addRoutes>[1];

describe('routes that are not there', () => {
  test.each(NOT_YET)('%s %s is refused by its name', (method, path, words) => {
    const handlers = new Map<string, () => unknown>();
    addNotYetRoutes({
      add: (m, p, handler) => handlers.set(`${m} ${p}`, handler as () => unknown),
    } as Routes);
    expect(handlers.get(`${method} ${path}`)).toThrow(words);
  });

  test('stand beside all the others: no route is there twice', () => {
    const server = new EngineServer({
      log: silentLogger,
      clock: new FakeClock(),
      headers: () => ({}),
    });
    const parts = { worker: {}, swarm: {} } as unknown as AllParts;
    expect(() => addRoutes(server, parts)).not.toThrow();
  });
});
