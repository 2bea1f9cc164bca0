import { describe, expect, test } from 'vitest';
import { AFFINITY_LABEL, balancingOf, INGRESS_LABEL } from '../../../common/model/balancing.ts';

describe('how connections to a service are spread', () => {
  test('is by turns, and from every node, unless labels say otherwise', () => {
    expect(balancingOf({ other: 'x' })).toEqual({ clientAffinity: false, localOnly: false });
    const said = { [AFFINITY_LABEL]: 'none', [INGRESS_LABEL]: 'any-node' };
    expect(balancingOf(said)).toEqual({ clientAffinity: false, localOnly: false });
    const chosen = { [AFFINITY_LABEL]: 'client-ip', [INGRESS_LABEL]: 'local-only' };
    expect(balancingOf(chosen)).toEqual({ clientAffinity: true, localOnly: true });
  });

  test('is refused for words that mean nothing', () => {
    expect(() => balancingOf({ [AFFINITY_LABEL]: 'cookie' })).toThrow(
      "label com.skep.affinity: 'cookie' is neither none nor client-ip",
    );
    expect(() => balancingOf({ [INGRESS_LABEL]: '' })).toThrow(
      "'' is neither any-node nor local-only",
    );
  });
});
