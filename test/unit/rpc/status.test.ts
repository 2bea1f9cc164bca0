import { describe, expect, test } from 'vitest';
import { EFFECT } from '../../../common/base/errors.ts';
import { errorOfStatus } from '../../../common/rpc/status.ts';

const UNAVAILABLE = 14;

describe('a status of gRPC itself', () => {
  test.each([
    [
      'No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:99. Resolution note: ',
      'call X at 10.0.0.1:99: no connection: connect ECONNREFUSED 10.0.0.1:99',
    ],
    ['No connection established', 'call X at 10.0.0.1:99: no connection'],
  ])(
    'says what is wrong with the connection, and that nothing was sent: %s',
    (details, message) => {
      const err = errorOfStatus('call X at 10.0.0.1:99', { code: UNAVAILABLE, details });
      expect(err).toMatchObject({ code: 'unavailable', message, details: { [EFFECT]: 'none' } });
    },
  );

  test('keeps other words, and promises nothing about what was sent', () => {
    const err = errorOfStatus('call X', { code: UNAVAILABLE, details: 'Connection dropped' });
    expect(err).toMatchObject({ message: 'call X: Connection dropped', details: {} });
  });
});
