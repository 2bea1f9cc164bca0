import { describe, expect, test } from 'vitest';
import { concernsPlacement, type Node } from '../../../common/model/node.ts';
import { aNode, aNodeDescription, aNodeSpec, freshId } from '../../support/builders.ts';

const tlsInfo = (root: string) => ({
  trustRootPem: root,
  certIssuerSubject: new Uint8Array([1]),
  certIssuerPublicKey: new Uint8Array([2]),
});
const description = aNodeDescription({ tlsInfo: tlsInfo('a') });
const node = aNode({ description });

describe('what changed of a node', () => {
  test.each<[string, boolean, Partial<Node>]>([
    ['nothing', false, {}],
    ['its certificate', false, { renewCertificate: true, certificate: new Uint8Array([1]) }],
    ['the root that it trusts', false, { description: { ...description, tlsInfo: tlsInfo('b') } }],
    ['its attachments', false, { attachments: [{ networkId: freshId('net'), address: 'x' }] }],
    ['its state', true, { status: { ...node.status, state: 'down' } }],
    ['its role', true, { role: 'manager' }],
    ['its labels', true, { spec: aNodeSpec({ labels: { a: 'b' } }) }],
    ['its memory', true, { description: { ...description, memoryBytes: 1 } }],
    ['its description, which it has none of', true, { description: null }],
  ])('%s: matters to tasks = %s', (_, matters, change) => {
    expect(concernsPlacement({ ...node, ...change }, node)).toBe(matters);
    expect(concernsPlacement(node, { ...node, ...change })).toBe(matters);
  });
});
