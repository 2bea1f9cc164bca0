import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { CONNECTIONS_MAX, EngineServer } from '../../../daemon/engineapi/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** The server's end of a connection; what it answers, status by status. */
class Connection extends Duplex {
  readonly statuses: number[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const [, status] of String(chunk).matchAll(/HTTP\/1\.1 (\d+) /g)) {
      this.statuses.push(Number(status));
    }
    done();
  }

  ask(): void {
    this.push('GET /hello HTTP/1.1\r\nHost: e\r\n\r\n');
  }
}

let server: EngineServer;
beforeEach(() => {
  server = new EngineServer({ log: silentLogger, clock: new FakeClock(), headers: () => ({}) });
  server.add('GET', '/hello', (context) => context.send(200, {}));
});
afterEach(() => server.stop());

function connection(): Connection {
  const one = new Connection();
  server.accept(one);
  return one;
}

async function answerTo(one: Connection): Promise<number | undefined> {
  const seen = one.statuses.length;
  one.ask();
  await expect.poll(() => one.statuses.length, { interval: 1 }).toBe(seen + 1);
  return one.statuses.at(-1);
}

describe(`of more connections than ${CONNECTIONS_MAX}`, () => {
  test('those that were first are served, the others are told to wait until one goes', async () => {
    const first = Array.from({ length: CONNECTIONS_MAX }, connection);
    const [late, later, last] = [connection(), connection(), connection()];
    expect(await answerTo(first[0]!)).toBe(200);
    expect(await answerTo(first.at(-1)!)).toBe(200);
    expect(await answerTo(late)).toBe(503);
    const gone = new Promise((resolve) => first[1]!.once('close', resolve));
    first[1]!.destroy();
    await gone;
    expect(await answerTo(later)).toBe(200);
    expect(await answerTo(last)).toBe(503);
    expect(await answerTo(later)).toBe(200);
  });
});
