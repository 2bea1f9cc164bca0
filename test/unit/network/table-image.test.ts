import { describe, expect, test } from 'vitest';
import { attributes, MessageBatch } from '../../../native/ffi/net/message.ts';
import { addressKey, NFT_TYPE, numberKey, type TableWriter } from '../../../native/ffi/net/nft.ts';
import { dnatByMap, fromInterface, verdict } from '../../../native/ffi/net/nft-expressions.ts';
import type { TableState } from '../../../native/ffi/net/nft-state.ts';
import { TableImage } from '../../../worker/network/table-image.ts';

const DROP = [...fromInterface('eth0'), ...verdict({ kind: 'drop' })];
const BALANCE = dnatByMap('backends', 2, null);

function write(table: TableWriter): void {
  table.addSet('backends', {
    keyType: NFT_TYPE.mark,
    keyBytes: 4,
    data: { type: NFT_TYPE.ipv4Address, bytes: 4 },
  });
  table.addElements('backends', [
    { key: numberKey(0), data: addressKey('10.0.1.11') },
    { key: numberKey(1), data: addressKey('10.0.1.12') },
  ]);
  table.addChain('output', { type: 'nat', hook: 'output', priority: -100 });
  table.addRule('output', DROP);
  table.addRule('output', BALANCE);
}

const written = (fill: (batch: MessageBatch) => void): Buffer => MessageBatch.attributesOf(fill);
const rule = (expressions: typeof DROP): Buffer =>
  written((batch) => {
    for (const expression of expressions) expression(batch);
  });

function element(slot: number, address: string): ReadonlyMap<number, Buffer> {
  return attributes(
    written((batch) => {
      batch.nest(1, () => batch.attrBytes(1, numberKey(slot)));
      batch.nest(2, () => batch.attrBytes(1, addressKey(address)));
    }),
  );
}

const OUTPUT = attributes(
  written((batch) => {
    batch.attrBe32(9, 7); // a counter of ours no word was said of
    batch.nest(4, () => {
      batch.attrBe32(1, 3);
      batch.attrBe32(2, -100);
    });
    batch.attrText(7, 'nat');
  }),
);

/** As the kernel tells it back. */
const state = (changes: Partial<TableState> = {}): TableState => ({
  chains: new Map([['output', OUTPUT]]),
  rules: new Map([['output', [rule(DROP), rule(BALANCE)]]]),
  sets: new Map([['backends', new Map()]]),
  elements: new Map([['backends', [element(1, '10.0.1.12'), element(0, '10.0.1.11')]]]),
  ...changes,
});

describe('the picture of a table', () => {
  const image = new TableImage();
  write(image);
  const names = (changes: Partial<TableState>) =>
    image.differences(state(changes)).map(({ what }) => what);

  test('agrees with what was written, in whatever order elements come', () => {
    expect(image.differences(state())).toEqual([]);
  });

  test.each<[string, Partial<TableState>, readonly string[]]>([
    [
      'no chain',
      { chains: new Map(), rules: new Map() },
      ['chain output', 'rule 0 of chain output', 'rule 1 of chain output'],
    ],
    [
      'a chain too many',
      {
        chains: new Map([
          ['output', OUTPUT],
          ['x', new Map()],
        ]),
      },
      ['chain x'],
    ],
    ['a chain without its hook', { chains: new Map([['output', new Map()]]) }, ['chain output']],
    ['a rule gone', { rules: new Map([['output', [rule(DROP)]]]) }, ['rule 1 of chain output']],
    [
      'a rule too many',
      { rules: new Map([['output', [rule(DROP), rule(BALANCE), rule(DROP)]]]) },
      ['rule 2 of chain output'],
    ],
    [
      'rules in another order',
      { rules: new Map([['output', [rule(BALANCE), rule(DROP)]]]) },
      ['rule 0 of chain output', 'rule 1 of chain output'],
    ],
    [
      'another modulus',
      { rules: new Map([['output', [rule(DROP), rule(dnatByMap('backends', 3, null))]]]) },
      ['rule 1 of chain output'],
    ],
    [
      'a set gone',
      { sets: new Map(), elements: new Map() },
      ['set backends', 'element 00000000 of backends', 'element 01000000 of backends'],
    ],
    [
      'a set too many',
      {
        sets: new Map([
          ['backends', new Map()],
          ['y', new Map()],
        ]),
      },
      ['set y'],
    ],
    [
      'another backend',
      { elements: new Map([['backends', [element(0, '10.0.1.11'), element(1, '10.0.1.99')]]]) },
      ['element 01000000 of backends'],
    ],
    [
      'a backend too many',
      {
        elements: new Map([
          ['backends', [element(0, '10.0.1.11'), element(1, '10.0.1.12'), element(2, '10.0.1.13')]],
        ]),
      },
      ['element 02000000 of backends'],
    ],
  ])('sees %s', (_, changes, expected) => {
    expect(names(changes)).toEqual(expected);
  });
});
