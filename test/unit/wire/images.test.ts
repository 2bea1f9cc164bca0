import { describe, expect, test } from 'vitest';
import type { ReadBlobRequest } from '../../../common/model/blob.ts';
import {
  decodeBlobPart,
  decodeImageTaken,
  decodeReadBlobRequest,
  decodeTakeImageRequest,
  decodeWantedImages,
  decodeWantedImagesRequest,
  encodeBlobPart,
  encodeImageTaken,
  encodeReadBlobRequest,
  encodeTakeImageRequest,
  encodeWantedImages,
  encodeWantedImagesRequest,
} from '../../../common/wire/images.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const origin = { domain: 'r:5000', path: 'me/app', sizeBytes: 2 ** 40, isManifest: false };

describe('images between nodes', () => {
  test.each<ReadBlobRequest>([
    { digest, offset: 0, origin: null },
    { digest, offset: 2 ** 40, origin: { ...origin, auth: null } },
    { digest, offset: 1, origin: { ...origin, auth: { username: 'u', password: 'p' } } },
    {
      digest,
      offset: 1,
      origin: {
        ...origin,
        isManifest: true,
        auth: { username: '', password: '', identityToken: 't' },
      },
    },
  ])('a request for a blob survives its encoding: %j', (request) => {
    expect(decodeReadBlobRequest(encodeReadBlobRequest(request))).toEqual(request);
  });

  test('so do parts of blobs, orders and their answers', () => {
    const data = Buffer.from([0, 255, 1]);
    expect(Buffer.from(decodeBlobPart(encodeBlobPart({ data })).data)).toEqual(data);
    const order = {
      manifestDigest: digest,
      tags: ['docker.io/library/web:1'],
      source: { nodeId: 'n', address: '10.0.0.1:2377' },
    };
    expect(decodeTakeImageRequest(encodeTakeImageRequest(order))).toEqual(order);
    const wanted = { images: ['web:1', 'r:5000/db@sha256:0'] };
    expect(decodeWantedImages(encodeWantedImages(wanted))).toEqual(wanted);
    expect(decodeWantedImagesRequest(encodeWantedImagesRequest({}))).toEqual({});
    expect(decodeImageTaken(encodeImageTaken({ imageId: digest }))).toEqual({ imageId: digest });
  });
});
