import { describe, expect, test } from 'vitest';
import {
  AFFINITY_LABEL,
  balancingOf,
  INGRESS_LABEL,
  NO_BALANCING,
  WEIGHT_LABEL,
} from '../../../common/model/balancing.ts';

describe('how connections to a service are spread', () => {
  test('is by turns, and from every node, unless labels say otherwise', () => {
    expect(balancingOf({ other: 'x' })).toEqual(NO_BALANCING);
    const said = { [AFFINITY_LABEL]: 'none', [INGRESS_LABEL]: 'any-node' };
    expect(balancingOf(said)).toEqual(NO_BALANCING);
    const chosen = {
      ...{ [AFFINITY_LABEL]: 'client-ip', [INGRESS_LABEL]: 'local-only' },
      [WEIGHT_LABEL]: '0',
    };
    expect(balancingOf(chosen)).toEqual({ clientAffinity: true, localOnly: true, weight: 0 });
  });

  test('is refused for words that mean nothing', () => {
    expect(() => balancingOf({ [AFFINITY_LABEL]: 'cookie' })).toThrow(
      "label com.skep.affinity: 'cookie' is neither none nor client-ip",
    );
    expect(() => balancingOf({ [INGRESS_LABEL]: '' })).toThrow(
      "'' is neither any-node nor local-only",
    );
    for (const weight of ['', '-1', '1001', '1.5', '10 %']) {
      expect(() => balancingOf({ [WEIGHT_LABEL]: weight })).toThrow(
        `label com.skep.weight: '${weight}' is no whole number from 0 to 1000`,
      );
    }
  });
});
