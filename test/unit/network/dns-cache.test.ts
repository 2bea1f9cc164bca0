import dnsPacket, { type Answer } from 'dns-packet';
import { beforeEach, describe, expect, test } from 'vitest';
import { DnsCache, lifetimeOf } from '../../../worker/network/dns-cache.ts';
import { type Question, readQuestion } from '../../../worker/network/dns-message.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const SERVERS = ['192.0.2.53'];
const A = (ttl: number, name = 'a.example'): Answer => ({
  type: 'A',
  name,
  ttl,
  data: '203.0.113.7',
});
const soa = (ttl: number, minimum: number): Answer => ({
  type: 'SOA',
  name: 'example',
  ttl,
  data: { mname: 'ns', rname: 'root', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});

function ask(name: string, id = 7, options: { recursion?: boolean } = {}): Buffer {
  return dnsPacket.encode({
    type: 'query',
    id,
    flags: options.recursion === false ? 0 : dnsPacket.RECURSION_DESIRED,
    questions: [{ type: 'A', name }],
  });
}

interface ReplyParts {
  readonly rcode?: number;
  readonly flags?: number;
  readonly answers?: Answer[];
  readonly authorities?: Answer[];
}

function reply(query: Buffer, { rcode = 0, flags = 0, ...records }: ReplyParts): Buffer {
  const { id, questions } = dnsPacket.decode(query);
  return dnsPacket.encode({
    type: 'response',
    id: id!,
    flags: rcode | flags,
    questions: questions!,
    ...records,
  });
}

const question = (query: Buffer): Question => readQuestion(query) as Question;

let clock: FakeClock;
let cache: DnsCache;
beforeEach(() => {
  clock = new FakeClock();
  cache = new DnsCache(clock);
});

const keyOf = (query: Buffer, servers = SERVERS, transport = 'udp') =>
  DnsCache.keyOf(query, question(query), servers, transport);

function keep(parts: ReplyParts): void {
  const query = ask('a.example');
  cache.put(keyOf(query), reply(query, parts), question(query));
}

function find(query = ask('a.example'), servers = SERVERS, transport = 'udp') {
  const found = cache.get(keyOf(query, servers, transport), query, question(query));
  return found && dnsPacket.decode(found);
}

describe('what other nameservers answered', () => {
  test('is kept as long as they said, and tells how long that is still', async () => {
    keep({ answers: [A(60), A(90)] });
    await clock.advance(20_500);
    expect(find()?.answers).toMatchObject([{ ttl: 40 }, { ttl: 70 }]);
    await clock.advance(39_499);
    expect(find()).not.toBeNull();
    await clock.advance(1);
    expect(find()).toBeNull();
  });

  test('goes to every client under its own id and with its own letters', () => {
    keep({ answers: [A(60)] });
    const found = find(ask('A.exAmple', 4711));
    expect(found).toMatchObject({ id: 4711, questions: [{ name: 'A.exAmple' }] });
  });

  test.each<[string, Buffer, string[], string]>([
    ['other servers', ask('a.example'), ['192.0.2.54'], 'udp'],
    ['another transport', ask('a.example'), SERVERS, 'tcp'],
    ['other flags', ask('a.example', 7, { recursion: false }), SERVERS, 'udp'],
    ['another name', ask('b.example'), SERVERS, 'udp'],
  ])('is not for %s', (_, query, servers, transport) => {
    keep({ answers: [A(60)] });
    expect(find(query, servers, transport)).toBeNull();
  });

  test('goes when 2,000 others were asked for since', () => {
    keep({ answers: [A(60)] });
    for (let i = 0; i < 1_999; i++) {
      const query = ask(`n${i}.example`);
      cache.put(keyOf(query), reply(query, { answers: [A(60)] }), question(query));
    }
    expect(find()).not.toBeNull();
    const another = ask('one-more.example');
    cache.put(keyOf(another), reply(another, { answers: [A(60)] }), question(another));
    expect(find(ask('n0.example'))).toBeNull();
    expect(find()).not.toBeNull(); // it was asked for since
  });

  test.each<[string, ReplyParts, number | null]>([
    ['the shortest of its records', { answers: [A(60), A(9)] }, 9],
    ['at most five minutes', { answers: [A(86_400)] }, 300],
    ['half a minute, when a name does not exist', { rcode: 3, authorities: [soa(900, 900)] }, 30],
    ['what the zone says of names that do not exist', { rcode: 3, authorities: [soa(900, 5)] }, 5],
    ['what the zone says of records that are not there', { authorities: [soa(4, 900)] }, 4],
    ['not, without a word on how long', { rcode: 3 }, null],
    ['not, when the server failed', { rcode: 2, answers: [A(60)] }, null],
    ['not, when it was cut', { flags: dnsPacket.TRUNCATED_RESPONSE, answers: [A(60)] }, null],
  ])('is kept for %s', (_, parts, seconds) => {
    const query = ask('a.example');
    expect(lifetimeOf(reply(query, parts), question(query))?.seconds ?? null).toBe(seconds);
  });

  test('is not kept when it is damaged', () => {
    const query = ask('a.example');
    const whole = reply(query, { answers: [A(60)] });
    for (let length = 12; length < whole.length; length++) {
      expect(lifetimeOf(whole.subarray(0, length), question(query))).toBeNull();
    }
  });
});
