import { describe, expect, test } from 'vitest';
import { EFFECT, SkepError } from '../../../common/base/errors.ts';
import { AnsweredError, errorOfStatus, statusOfError } from '../../../common/rpc/status.ts';

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

describe('a failure of a call', () => {
  test('is an answer when the server threw it, whatever its code', () => {
    const thrown = new SkepError('unavailable', 'registry: 503', { details: { [EFFECT]: 'none' } });
    const err = errorOfStatus('call X', statusOfError(thrown));
    expect(err).toBeInstanceOf(AnsweredError);
    expect(err).toMatchObject({ code: 'unavailable', message: 'registry: 503' });
  });

  test('is none when it is of the way to the server', () => {
    const status = { code: UNAVAILABLE, details: 'No connection established' };
    expect(errorOfStatus('call X', status)).not.toBeInstanceOf(AnsweredError);
  });
});
