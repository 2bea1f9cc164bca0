import { decode, encode, type Packet } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { readQuestion } from '../../../worker/network/dns-message.ts';
import {
  type AskedNetwork,
  answerFromLocal,
  LocalNames,
} from '../../../worker/network/local-names.ts';

const FRONT: AskedNetwork = { id: 'f1', name: 'front', links: [] };
const BACK: AskedNetwork = { id: 'b1', name: 'back', links: [] };

function names(): LocalNames {
  const known = new LocalNames();
  known.set('f1', 'one', ['web', '0123456789ab', 'www'], '10.1.0.2');
  known.set('f1', 'two', ['Web2', 'www'], '10.1.0.3');
  known.set('b1', 'one', ['web', 'db'], '10.2.0.2');
  return known;
}

function ask(name: string, type: 'A' | 'AAAA' | 'PTR', networks = [FRONT, BACK]): Packet | null {
  const query = encode({ type: 'query', id: 1, questions: [{ type, name }] });
  const question = readQuestion(query);
  if (!question) throw new Error('no question');
  const random = new SeededRandom(1);
  const answer = answerFromLocal(names(), networks, query, question, 512, random);
  return answer && decode(answer);
}

const dataOf = (packet: Packet | null): unknown[] =>
  (packet?.answers ?? []).map((answer) => ('data' in answer ? String(answer.data) : null)).sort();

describe('names of containers in networks of this node', () => {
  test('are known in their networks alone', () => {
    expect(dataOf(ask('web', 'A'))).toEqual(['10.1.0.2']);
    expect(dataOf(ask('web', 'A', [BACK]))).toEqual(['10.2.0.2']);
    expect(ask('db', 'A', [FRONT])).toBeNull();
    expect(ask('other', 'A')).toBeNull();
  });

  test('are compared without case, and may be of several containers', () => {
    expect(dataOf(ask('WEB2', 'A'))).toEqual(['10.1.0.3']);
    expect(dataOf(ask('www', 'A'))).toEqual(['10.1.0.2', '10.1.0.3']);
  });

  test('can be asked in one network by its name', () => {
    expect(dataOf(ask('web.back', 'A'))).toEqual(['10.2.0.2']);
    expect(ask('www.back', 'A')).toBeNull();
  });

  test('may have others for one container alone, in one network', () => {
    const linked = { ...FRONT, links: [{ alias: 'Cache', target: 'web2' }] };
    expect(dataOf(ask('cache', 'A', [linked, BACK]))).toEqual(['10.1.0.3']);
    expect(ask('cache', 'A')).toBeNull();
    expect(dataOf(ask('web', 'A', [linked]))).toEqual(['10.1.0.2']);
  });

  test('exist without an address of another kind', () => {
    expect(ask('web', 'AAAA')).toMatchObject({ rcode: 'NOERROR', answers: [] });
  });

  test('are found by their address', () => {
    expect(dataOf(ask('2.0.1.10.in-addr.arpa', 'PTR'))).toEqual(['web.front']);
    expect(ask('9.0.1.10.in-addr.arpa', 'PTR')).toBeNull();
  });

  test('are gone with their container', () => {
    const known = names();
    known.remove('f1', 'one');
    expect(known.lookup('f1', 'www')).toEqual(['10.1.0.3']);
    expect(known.lookup('b1', 'db')).toEqual(['10.2.0.2']);
  });
});
