import { describe, expect, test } from 'vitest';
import { containerToJson } from '../../../daemon/engineapi/json/container.ts';
import { imageRowToJson, imageToJson } from '../../../daemon/engineapi/json/image.ts';
import type { PlainContainer } from '../../../worker/containers/plain-container.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { anImage } from '../../support/fake-container-host.ts';

const SHORT_ID = 'web'.padEnd(12, '0');
const seat = {
  ...{ name: 'front', networkId: 'net', address: '10.0.1.2', prefixLength: 24, gateway: '' },
  ...{ mac: '', aliases: ['shop'], fixedAddress: '' },
};

describe('a client of an API version', () => {
  test.each([
    [43, ['shop', SHORT_ID], undefined],
    [44, ['shop', SHORT_ID], ['web', SHORT_ID, 'shop']],
    [45, ['shop'], ['web', SHORT_ID, 'shop']],
    [50, ['shop'], ['web', SHORT_ID, 'shop']],
  ])('1.%i is shown the names of a container where it looks for them', (minor, Aliases, names) => {
    const plain = { record: { definition: {} } } as PlainContainer;
    const info = aContainerInfo({ name: 'web', networks: [seat], plain });
    const { NetworkSettings } = containerToJson(info, String, minor) as {
      readonly NetworkSettings: { readonly Networks: Record<string, Record<string, unknown>> };
    };
    const { front } = NetworkSettings.Networks;
    expect([front!['Aliases'], front!['DNSNames']]).toEqual([Aliases, names]);
  });

  test.each([
    [43, true, true],
    [44, false, true],
    [49, false, true],
    [50, false, false],
  ])('1.%i is shown what an image had then', (minor, hasVirtualSize, hasContainerFields) => {
    const json = imageToJson(anImage(), [], minor) as { readonly Config: object };
    expect('VirtualSize' in json).toBe(hasVirtualSize);
    expect('Hostname' in json.Config).toBe(hasContainerFields);
  });

  test.each([
    [42, ['<none>:<none>'], ['<none>@<none>']],
    [43, [], []],
  ])('1.%i is shown an image without a name as it was then', (minor, RepoTags, RepoDigests) => {
    const bare = { ...anImage(), repoTags: [], repoDigests: [] };
    expect(imageRowToJson(bare, minor)).toMatchObject({ RepoTags, RepoDigests });
    const untagged = { ...bare, repoDigests: ['x@sha256:0'] };
    expect(imageRowToJson(untagged, minor)).toMatchObject({
      RepoTags: [],
      RepoDigests: untagged.repoDigests,
    });
  });
});
