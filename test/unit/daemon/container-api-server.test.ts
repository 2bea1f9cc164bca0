import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { CallContext } from '../../../common/rpc/call-runner.ts';
import { containerApi } from '../../../common/rpc/node-methods.ts';
import type { DuplexHandler, RpcService } from '../../../common/rpc/server.ts';
import { ContainerApiServer } from '../../../daemon/container-api-server.ts';
import { CONNECTIONS_MAX } from '../../../daemon/engineapi/server.ts';
import { settle } from '../../support/fake-clock.ts';
import { type StreamEnd, streamPair } from '../../support/rpc-stream-pair.ts';

type Handler = DuplexHandler<Uint8Array, Uint8Array>;

function scene() {
  const accepted: Duplex[] = [];
  const methods = new Map<unknown, Handler>();
  const server = new ContainerApiServer({ accept: (connection) => accepted.push(connection) });
  const release = server.register({
    handleDuplex: (method: unknown, handler: Handler) => {
      methods.set(method, handler);
      return () => methods.delete(method);
    },
  } as unknown as Pick<RpcService, 'handleDuplex'>);
  /** A manager calls. */
  const call = (abort = new AbortController()): { client: StreamEnd; served: Promise<void> } => {
    const [client, other] = streamPair(1024);
    const context = { signal: abort.signal } as CallContext;
    return { client, served: methods.get(containerApi)!(other, context) };
  };
  return { accepted, methods, release, call };
}

describe("a manager's connection to the containers of a node", () => {
  test('is served until it is closed', async () => {
    const { accepted, call } = scene();
    const { served } = call();
    let isServed = false;
    void served.then(() => {
      isServed = true;
    });
    await settle();
    expect([accepted.length, isServed]).toEqual([1, false]);
    accepted[0]!.destroy();
    await served;
  });

  test('is cut off when the manager is gone', async () => {
    const { accepted, call } = scene();
    const abort = new AbortController();
    const { served } = call(abort);
    abort.abort();
    await served;
    expect(accepted[0]!.destroyed).toBe(true);
  });

  test('is refused while as many are open as an API bears', async () => {
    const { accepted, call } = scene();
    for (let i = 0; i < CONNECTIONS_MAX; i++) void call();
    await expect(call().served).rejects.toMatchObject({ code: 'resource-exhausted' });
    accepted[0]!.destroy();
    await settle();
    call();
    expect(accepted).toHaveLength(CONNECTIONS_MAX + 1);
  });
});

test('nothing is served any more once it was released', () => {
  const { methods, release } = scene();
  release();
  expect(methods.size).toBe(0);
});

test('only managers may connect', () => {
  expect(containerApi.roles).toEqual(['manager']);
});
