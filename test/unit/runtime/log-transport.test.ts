import { expect, test } from 'vitest';
import { NO_TLS_FILES, openTransport } from '../../../worker/runtime/logging/log-transport.ts';

test('no transport is opened once the sending is over', async () => {
  const over = new Error('the sending is over');
  const address = { kind: 'udp', host: '127.0.0.1', port: 9 } as const;
  const opening = openTransport(address, NO_TLS_FILES, AbortSignal.abort(over));
  await expect(opening).rejects.toBe(over);
});
