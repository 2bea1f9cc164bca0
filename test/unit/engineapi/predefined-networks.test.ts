import { expect, test } from 'vitest';
import {
  clusterRowOf,
  predefinedNetworkId,
  withPredefinedWords,
} from '../../../daemon/engineapi/predefined-networks.ts';
import { aNetworkTarget, aServiceSpec, aTaskSpec } from '../../support/builders.ts';

test('a service may name a predefined network by the id that this engine has for it', () => {
  const targets = [predefinedNetworkId('e1', 'host'), predefinedNetworkId('e2', 'host'), 'back'];
  const networks = targets.map((target) => aNetworkTarget({ target }));
  const spec = withPredefinedWords('e1', aServiceSpec({ task: aTaskSpec({ networks }) }));
  expect(spec.task.networks.map(({ target }) => target)).toEqual(['host', targets[1], 'back']);
});

test('the cluster has no other predefined network', () => {
  expect(clusterRowOf('front')).toBeNull();
  expect(clusterRowOf('none')).toMatchObject({ Id: 'none', Driver: 'null', Scope: 'swarm' });
});
