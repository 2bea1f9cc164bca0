import { describe, expect, test } from 'vitest';
import { plainEndpointOf } from '../../../common/model/plain-endpoint.ts';
import { AllocationBook } from '../../../manager/allocator/allocation-book.ts';
import { planEndpoint } from '../../../manager/allocator/plan-endpoint.ts';
import {
  aNetworkTarget,
  aPort,
  aService,
  aServiceSpec,
  aTaskSpec,
} from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const inNetworks = (...targets: string[]) =>
  aTaskSpec({ networks: targets.map((target) => aNetworkTarget({ target })) });
const host = aPort({ publishMode: 'host', targetPort: 80, publishedPort: 0 });
const ingress = aPort({ publishMode: 'ingress', targetPort: 81, publishedPort: 8081 });

describe('the endpoint of a service that needs nothing of the allocator', () => {
  test.each([
    ['nothing but its words', aServiceSpec()],
    ['the network of its node', aServiceSpec({ task: inNetworks('host') })],
    ['no network at all', aServiceSpec({ task: inNetworks('none') })],
    ['ports of its nodes', aServiceSpec({ endpoint: { mode: 'vip', ports: [host] } })],
    ['no virtual IP', aServiceSpec({ endpoint: { mode: 'dnsrr', ports: [host, host] } })],
  ])('is what the allocator gives it: %s', (_, spec) => {
    const { store } = makeStore();
    const service = aService({ spec, endpoint: null });
    const allocated = store.view((view) =>
      planEndpoint(AllocationBook.fromView(view), view, service),
    );
    expect(plainEndpointOf(spec)).toEqual(allocated);
  });

  test.each([
    ['an overlay', aServiceSpec({ task: inNetworks('host', 'net1') })],
    [
      'a port of the cluster',
      aServiceSpec({ endpoint: { mode: 'dnsrr', ports: [host, ingress] } }),
    ],
  ])('is not known before it is allocated: %s', (_, spec) => {
    expect(plainEndpointOf(spec)).toBeNull();
  });

  test('is one object for all tasks of the service', () => {
    const spec = aServiceSpec();
    expect(plainEndpointOf(spec)).toBe(plainEndpointOf(spec));
  });
});
