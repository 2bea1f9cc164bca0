import dnsPacket from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { asId, type ServiceId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { DnsFrames, frameOf } from '../../../worker/network/dns-asker.ts';
import {
  addressAnswer,
  emptyAnswer,
  isQuery,
  type Question,
  RCODE,
  readQuestion,
} from '../../../worker/network/dns-message.ts';
import { answerLocally, lookupName } from '../../../worker/network/dns-resolver.ts';
import { endpoint, network, port, service, set } from '../../support/network-scene.ts';

function ask(
  name: string,
  type: 'A' | 'AAAA' | 'PTR' | 'MX' | 'SRV' = 'A',
  udpPayloadSize = 0,
): Buffer {
  return dnsPacket.encode({
    type: 'query',
    id: 4711,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
    additionals:
      udpPayloadSize > 0
        ? [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ]
        : [],
  });
}

const question = (query: Buffer): Question => readQuestion(query) as Question;

describe('DNS messages', () => {
  test.each([
    [0, 512],
    [4096, 1232],
    [900, 900],
    [100, 512],
  ])('a client that offers %d bytes gets at most %d', (offered, limit) => {
    expect(question(ask('Web.Example', 'A', offered))).toMatchObject({
      name: 'web.example',
      type: 1,
      udpBytesMax: limit,
    });
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    [
      'a response',
      dnsPacket.encode({ type: 'response', id: 1, questions: [{ type: 'A', name: 'x' }] }),
    ],
    [
      'two questions',
      dnsPacket.encode({
        type: 'query',
        id: 1,
        questions: [
          { type: 'A', name: 'x' },
          { type: 'A', name: 'y' },
        ],
      }),
    ],
    ['a name cut short', ask('web').subarray(0, 15)],
    [
      'a compressed name',
      Buffer.concat([ask('web').subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
    ],
  ])('%s is no question that we read', (_what, query) => {
    expect(readQuestion(query)).toBeNull();
  });

  test('A records come back with the question as it was asked', () => {
    const query = ask('WeB');
    const answer = addressAnswer(query, question(query), ['10.0.0.1', '10.0.0.2'], 2, 512);
    const decoded = dnsPacket.decode(answer);
    expect(decoded).toMatchObject({
      id: 4711,
      rcode: 'NOERROR',
      flag_rd: true,
      flag_ra: true,
      flag_tc: false,
    });
    expect(decoded.questions?.[0]?.name).toBe('WeB');
    expect(decoded.answers).toMatchObject([
      { type: 'A', name: 'WeB', ttl: 2, data: '10.0.0.1' },
      { type: 'A', name: 'WeB', ttl: 2, data: '10.0.0.2' },
    ]);
  });

  test('what does not fit is left out and marked', () => {
    const query = ask('web');
    const many = Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`);
    const answer = addressAnswer(query, question(query), many, 2, 512);
    expect(answer.length).toBeLessThanOrEqual(512);
    expect(dnsPacket.decode(answer)).toMatchObject({ flag_tc: true });
    expect(dnsPacket.decode(answer).answers).toHaveLength(30);
  });

  test('a response, or less than a header, is no query', () => {
    const query = ask('web');
    expect(isQuery(query)).toBe(true);
    expect(isQuery(emptyAnswer(query, null, RCODE.serverFailure))).toBe(false);
    expect(isQuery(query.subarray(0, 11))).toBe(false);
  });

  test('an error for a message without readable question has a header only', () => {
    const answer = emptyAnswer(ask('web').subarray(0, 14), null, RCODE.formatError);
    expect(answer).toHaveLength(12);
    expect(dnsPacket.decode(answer)).toMatchObject({ id: 4711, rcode: 'FORMERR' });
  });

  test('a stream is split into messages wherever it is cut', () => {
    const messages = [ask('a'), ask('bb'), ask('ccc')];
    const stream = Buffer.concat(messages.map(frameOf));
    for (let size = 1; size < stream.length; size += 7) {
      const frames = new DnsFrames();
      const got: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size)
        got.push(...frames.push(stream.subarray(at, at + size)));
      expect(got).toEqual(messages);
    }
  });
});

describe('answers from the tables', () => {
  const tables = new ClusterTables();
  const front = network('front', 4097, 1);
  tables.apply(
    [
      set('network', front),
      set('serviceEntry', {
        ...service(front, 'web', '10.0.1.2', ['site']),
        hostPorts: [{ protocol: 'tcp', name: 'stats', targetPort: 9113 }],
      }),
      set('serviceEntry', service(front, 'db', null)),
      set('port', port('web', 8080, 80, 'tcp', 'http')),
      set('port', port('web', 8081, 80, 'tcp')),
      set('port', port('web', 5353, 53, 'udp')),
      set('port', port('db', 5432, 5432)),
      ...[1, 2].map((i) =>
        set(
          'endpoint',
          endpoint(front, 'db', i, { nodeId: 'n', address: '172.30.0.1' }, `10.0.1.2${i}`),
        ),
      ),
      set(
        'endpoint',
        endpoint(front, 'web', 1, { nodeId: 'n', address: '172.30.0.1' }, '10.0.1.11'),
      ),
    ],
    true,
  );
  const answer = (query: Buffer, bytesMax = 512) =>
    answerLocally(
      tables,
      { networkIds: [front.id] },
      query,
      question(query),
      bytesMax,
      new SeededRandom(1),
    );

  const services = (name: string) => {
    const reply = dnsPacket.decode(answer(ask(name, 'SRV')) as Buffer);
    const targets = (reply.answers ?? []).map((record) =>
      record.type === 'SRV' ? `${record.data.target}:${record.data.port}` : record.type,
    );
    const addresses = (reply.additionals ?? []).map((record) => 'data' in record && record.data);
    return { targets: targets.sort(), addresses: addresses.sort() };
  };

  test.each(['_80._tcp.web', '_HTTP._tcp.Web', '_http._tcp.site.front', '_80._tcp.web.front'])(
    '%s tells where the port of a service is: at its virtual IP',
    (name) => {
      expect(services(name)).toEqual({ targets: ['web.front:80'], addresses: ['10.0.1.2'] });
    },
  );

  test('a network that has no such address hides none of another', () => {
    const six = network('six', 4098, 2, { subnet6: 'fd56::/64' });
    const both = new ClusterTables();
    const at = { nodeId: 'n', address: '172.30.0.1' };
    both.apply(
      [
        ...[front, six].map((it) => set('network', it)),
        set('serviceEntry', service(front, 'web', '10.0.1.2')),
        set('serviceEntry', service(six, 'web', '10.0.2.2')),
        // nobody of it serves in the first one
        set('serviceEntry', service(front, 'db', null)),
        set('serviceEntry', { ...service(six, 'db', null), serviceId: asId<ServiceId>('other') }),
        set(
          'endpoint',
          endpoint(six, 'db', 1, at, '10.0.2.21', { serviceId: asId<ServiceId>('other') }),
        ),
      ],
      true,
    );
    const client = { networkIds: [front.id, six.id] };
    const told = (name: string, type: 'A' | 'AAAA') => {
      const query = ask(name, type);
      const reply = answerLocally(both, client, query, question(query), 512, new SeededRandom(1));
      return (dnsPacket.decode(reply as Buffer).answers ?? []).map((it) => 'data' in it && it.data);
    };
    expect(told('web', 'A')).toEqual(['10.0.1.2']);
    expect(told('web', 'AAAA')).toEqual(['fd56::a00:202']);
    expect(told('web.front', 'AAAA')).toEqual([]);
    expect(told('db', 'A')).toEqual(['10.0.2.21']);
    expect(lookupName(both, client, 'db')).toEqual(['10.0.2.21']);
  });

  test('a port that is published on the tasks’ hosts is told as well', () => {
    expect(services('_9113._tcp.web')).toEqual(services('_stats._tcp.web'));
    expect(services('_stats._tcp.web').targets).toEqual(['web.front:9113']);
  });

  test('without a virtual IP the port is at every serving task', () => {
    expect(services('_5432._tcp.db')).toEqual({
      targets: ['db.1.task-db-1.front:5432', 'db.2.task-db-2.front:5432'],
      addresses: ['10.0.1.21', '10.0.1.22'],
    });
  });

  test('addresses that do not fit are left out, and records that do not are marked', () => {
    const whole = answer(ask('_5432._tcp.db', 'SRV')) as Buffer;
    const records = dnsPacket.decode(
      answer(ask('_5432._tcp.db', 'SRV'), whole.length - 1) as Buffer,
    );
    expect(records).toMatchObject({ flag_tc: false, additionals: [] });
    expect(records.answers).toHaveLength(2);
    const cut = dnsPacket.decode(answer(ask('_5432._tcp.db', 'SRV'), 60) as Buffer);
    expect(cut).toMatchObject({ flag_tc: true, answers: [] });
  });

  test('a port that a service of ours does not publish does not exist; others are asked elsewhere', () => {
    for (const name of ['_443._tcp.web', '_53._tcp.web', '_80._tcp.db']) {
      expect(dnsPacket.decode(answer(ask(name, 'SRV')) as Buffer)).toMatchObject({
        rcode: 'NXDOMAIN',
        answers: [],
      });
    }
    expect(answer(ask('_80._tcp.example.com', 'SRV'))).toBeNull();
  });

  test.each(['AAAA', 'MX'] as const)(
    'a known name without %s records is empty, not asked elsewhere',
    (type) => {
      expect(dnsPacket.decode(answer(ask('web', type)) as Buffer)).toMatchObject({
        rcode: 'NOERROR',
        answers: [],
      });
    },
  );

  test('a reverse name of a seat is answered, others are asked elsewhere', () => {
    const reply = dnsPacket.decode(answer(ask('11.1.0.10.in-addr.arpa', 'PTR')) as Buffer);
    expect(reply.answers).toMatchObject([{ type: 'PTR', data: 'web.1.task-web-1.front' }]);
    expect(answer(ask('1.2.3.4.in-addr.arpa', 'PTR'))).toBeNull();
    expect(answer(ask('example.com'))).toBeNull();
  });
});
