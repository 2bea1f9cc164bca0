import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type HttpHead,
  type HttpMessageEvents,
  HttpMessageReader,
} from '../../support/http-messages.ts';

type OnHead = HttpMessageEvents['onHead'];

interface Seen {
  readonly start: string;
  readonly body: string;
}

/** @param kinds of the messages, in their order; the others are framed */
function readAll(chunks: readonly Buffer[], kinds: ReturnType<OnHead>[] = []): Seen[] {
  const seen: Seen[] = [];
  const reader = new HttpMessageReader({
    onHead: () => kinds.shift() ?? 'framed',
    onMessage: ({ start }: HttpHead, body) => {
      seen.push({ start, body: body.toString() });
    },
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

function cut(text: string, at: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text);
  const places = [0, ...[...at].map((n) => n % (bytes.length + 1)).sort((a, b) => a - b)];
  return [...places, bytes.length].slice(1).map((end, index) => bytes.subarray(places[index], end));
}

const TWO_WAYS =
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"a"}' +
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n' +
  'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n' +
  'HTTP/1.1 204 No Content\r\nX: y\r\n\r\n';

describe('messages of HTTP', () => {
  test('are told apart wherever their bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(TWO_WAYS.length)), (at) => {
        expect(readAll(cut(TWO_WAYS, at))).toEqual([
          { start: 'HTTP/1.1 200 OK', body: '{"a"}' },
          { start: 'HTTP/1.1 200 OK', body: 'abcde' },
          { start: 'HTTP/1.1 200 OK', body: '' },
          { start: 'HTTP/1.1 204 No Content', body: '' },
        ]);
      }),
    );
  });

  test('have no body where who knows says so, and end where a connection is taken over', () => {
    const text =
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx' +
      'HTTP/1.1 101 UPGRADED\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny';
    const bodies = readAll([Buffer.from(text)], ['bare', 'framed', 'until-end']);
    expect(bodies.map(({ body }) => body)).toEqual(['x']);
  });
});
