/** What every node serves of its images to the others. */
import type {
  BlobPart,
  ImageTaken,
  ReadBlobRequest,
  TakeImageRequest,
  WantedImages,
} from '../model/blob.ts';
import type { TokenGrant, TokenRequest } from '../model/registry-token.ts';
import {
  decodeBlobPart,
  decodeImageTaken,
  decodeReadBlobRequest,
  decodeTakeImageRequest,
  decodeTokenGrant,
  decodeTokenRequest,
  decodeWantedImages,
  decodeWantedImagesRequest,
  encodeBlobPart,
  encodeImageTaken,
  encodeReadBlobRequest,
  encodeTakeImageRequest,
  encodeTokenGrant,
  encodeTokenRequest,
  encodeWantedImages,
  encodeWantedImagesRequest,
} from '../wire/images.ts';
import { serverStream, unary } from './method.ts';

/**
 * A blob from one byte on. `not-found` when the node has not got it and cannot get it. Workers ask managers: a node of
 * the cluster that knows a digest may read what it stands for. Managers ask workers that run the image, which give what
 * they have, to managers of now alone.
 */
export const readBlob = serverStream<ReadBlobRequest, BlobPart>({
  path: '/skep.Images/ReadBlob',
  request: { encode: encodeReadBlobRequest, decode: decodeReadBlobRequest },
  response: { encode: encodeBlobPart, decode: decodeBlobPart },
  roles: ['manager', 'worker'],
});

/** The node fetches the image from another one and names it so. A stream, because it may take minutes. */
export const takeImage = serverStream<TakeImageRequest, ImageTaken>({
  path: '/skep.Images/TakeImage',
  request: { encode: encodeTakeImageRequest, decode: decodeTakeImageRequest },
  response: { encode: encodeImageTaken, decode: decodeImageTaken },
  roles: ['manager'],
  needsCurrentManager: true,
});

/**
 * Which images a node must not remove to make room. Any manager answers that knows all that was written before; others reject
 * (`no-leader`, `unavailable`).
 */
export const wantedImages = unary<Record<string, never>, WantedImages>({
  path: '/skep.Images/WantedImages',
  request: { encode: encodeWantedImagesRequest, decode: decodeWantedImagesRequest },
  response: { encode: encodeWantedImages, decode: decodeWantedImages },
  roles: ['manager', 'worker'],
});

/**
 * Access to a registry for an identity token that may be void once it is used: by the leader alone, for all. Rejects with
 * the registry's words; with `permission-denied` for a realm that the registry does not name itself.
 */
export const exchangeToken = unary<TokenRequest, TokenGrant>({
  path: '/skep.Images/ExchangeToken',
  request: { encode: encodeTokenRequest, decode: decodeTokenRequest },
  response: { encode: encodeTokenGrant, decode: decodeTokenGrant },
  roles: ['manager', 'worker'],
});

/**
 * Longest wait for an exchange, on each way. One lasts 90 s at most (30 s for the headers, 60 s for the rest), and those of a
 * registry stand in line: who gave up before would not know whether the token is void.
 */
export const EXCHANGE_TIMEOUT_MS = 600_000;
